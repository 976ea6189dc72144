package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// connect makes a connection to a server. It does not wait for it. With https:// before host:port the connection has TLS.
func connect(server, token, caFile string) (*grpc.ClientConn, error) {
	if server == "" {
		return nil, fmt.Errorf("RAMPD_SERVER is not set: RAMPD_SERVER=127.0.0.1:50051, https://host:port or unix:/path")
	}
	place, isTLS := strings.CutPrefix(server, "https://")
	transport := insecure.NewCredentials()
	if isTLS {
		authorities, err := authoritiesOf(caFile)
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(&tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12})
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// gRPC's own pause between two tries grows to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 5 * time.Second},
			MinConnectTimeout: time.Second,
		}),
	}
	if token != "" {
		if !isTLS && !isHere(place) {
			return nil, fmt.Errorf("RAMPD_TOKEN is not sent in the clear to another machine: RAMPD_SERVER=https://%s", place)
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer{token, isTLS}))
	}
	return grpc.NewClient(place, options...)
}

// authoritiesOf reads the authorities that may sign the server's certificate. Without a file they are those of the system.
func authoritiesOf(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate: RAMPD_CA_FILE is a PEM file", caFile)
	}
	return pool, nil
}

func isHere(place string) bool {
	host, _, err := net.SplitHostPort(place)
	return strings.HasPrefix(place, "unix:") || err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// A bearer puts the token into each call.
type bearer struct {
	token string
	isTLS bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.isTLS }

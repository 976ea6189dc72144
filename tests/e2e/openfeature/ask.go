// Asks OpenFeature's own provider for Go: a question in JSON on each line, and its answer on a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"
)

type question struct {
	Component string         `json:"component"`
	Default   string         `json:"default"`
	Context   map[string]any `json:"context"`
}

func main() {
	wait, err := strconv.Atoi(os.Getenv("TIMEOUT_MS"))
	if err != nil {
		panic(err)
	}
	provider := ofrep.NewProvider(os.Getenv("OFREP_ENDPOINT"), ofrep.WithTimeout(time.Duration(wait)*time.Millisecond))
	if token := os.Getenv("RAMPD_TOKEN"); token != "" {
		provider = ofrep.NewProvider(
			os.Getenv("OFREP_ENDPOINT"),
			ofrep.WithTimeout(time.Duration(wait)*time.Millisecond),
			ofrep.WithBearerToken(token),
		)
	}
	if err := openfeature.SetProviderAndWait(provider); err != nil {
		panic(err)
	}
	client := openfeature.NewClient("ask")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		repo, _ := asked.Context["targetingKey"].(string)
		delete(asked.Context, "targetingKey")
		began := time.Now()
		details, _ := client.StringValueDetails(
			context.Background(), asked.Component, asked.Default, openfeature.NewEvaluationContext(repo, asked.Context),
		)
		answer, _ := json.Marshal(map[string]any{
			"value":        details.Value,
			"variant":      details.Variant,
			"reason":       details.Reason,
			"errorCode":    details.ErrorCode,
			"errorMessage": details.ErrorMessage,
			"metadata":     details.FlagMetadata,
			"ms":           float64(time.Since(began).Microseconds()) / 1000,
		})
		fmt.Println(string(answer))
	}
}

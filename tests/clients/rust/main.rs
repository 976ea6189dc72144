//! Calls a server with tonic. Each line of standard input says what to do, and a line of JSON says what came.
//! tests/clients/client.py has the words: ./client TARGET [CA_FILE TOKEN]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use rampd::v1::resolver_service_client::ResolverServiceClient;
use rampd::v1::{BatchResolveRequest, Release, ResolveRequest, WatchRequest, resolve_result};

mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
#[allow(dead_code)]
mod rampd {
    pub mod v1 {
        tonic::include_proto!("rampd.v1");
    }
}

const CALLERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);
static NUMBER: AtomicU64 = AtomicU64::new(1);

type Found = Result<Value, Box<dyn std::error::Error>>;

#[derive(Clone)]
struct Client {
    resolver: ResolverServiceClient<Channel>,
    health: HealthClient<Channel>,
    token: Option<String>,
}

fn say(what: Value) {
    println!("{what}");
}

fn job(component: &str) -> ResolveRequest {
    let (repo, job_id) = ("acme/app".into(), "4711".into());
    ResolveRequest { component: component.into(), repo, job_id, ..Default::default() }
}

/// The name of a code as the others write it.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

fn refusal(error: Status) -> Value {
    let mut found = json!({"code": name_of(error.code()), "message": error.message()});
    if let Some(info) = error.get_details_error_info() {
        found["reason"] = json!(info.reason);
        found["metadata"] = json!(info.metadata);
    }
    found
}

fn tags_of(releases: &[Release]) -> BTreeSet<&str> {
    releases.iter().map(|each| each.tag.as_str()).collect()
}

impl Client {
    fn new(arguments: &[String]) -> Result<Self, Box<dyn std::error::Error>> {
        let (target, token) = (&arguments[1], arguments.get(3).cloned());
        let endpoint = match arguments.get(2) {
            None => Endpoint::from_shared(format!("http://{target}"))?,
            Some(file) => {
                let authority = Certificate::from_pem(std::fs::read(file)?);
                let tls = ClientTlsConfig::new().ca_certificate(authority);
                Endpoint::from_shared(format!("https://{target}"))?.tls_config(tls)?
            }
        };
        let channel = endpoint.tcp_nodelay(true).connect_lazy();
        let (resolver, health) = (ResolverServiceClient::new(channel.clone()), HealthClient::new(channel));
        Ok(Self { resolver, health, token })
    }

    /// Gives a call its time, another trace each, and the token.
    fn called<T>(&self, message: T, limit: Duration) -> Request<T> {
        let (number, mut request) = (NUMBER.fetch_add(1, Ordering::Relaxed), Request::new(message));
        let trace = format!("00-{number:032x}-{number:016x}-01");
        request.metadata_mut().insert("traceparent", trace.parse().expect("ASCII"));
        if let Some(token) = &self.token {
            let proof = format!("Bearer {token}").parse().expect("ASCII");
            request.metadata_mut().insert("authorization", proof);
        }
        request.set_timeout(limit);
        request
    }

    async fn resolve(&mut self, request: ResolveRequest, limit: Duration) -> Result<String, Status> {
        let request = self.called(request, limit);
        Ok(self.resolver.resolve(request).await?.into_inner().tag)
    }

    async fn refused(&mut self, request: ResolveRequest, limit: Duration) -> Value {
        match self.resolve(request, limit).await {
            Ok(tag) => json!({"tag": tag}),
            Err(error) => refusal(error),
        }
    }

    async fn code(&mut self, request: ResolveRequest, limit: Duration) -> Value {
        json!({"code": self.refused(request, limit).await["code"]})
    }

    async fn resolved(&mut self) -> Found {
        let mut tags = Vec::new();
        for _ in 0..5 {
            tags.push(self.resolve(job("restyler"), PATIENCE).await?);
        }
        Ok(json!({"tags": tags}))
    }

    async fn watch(&mut self) -> Found {
        let components = vec!["restyler".into()];
        let request = self.called(WatchRequest { components, ..Default::default() }, MINUTE);
        let mut stream = self.resolver.watch(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            for each in message.state.iter().flat_map(|state| &state.components) {
                say(json!({"state": tags_of(&each.releases)}));
            }
            if let Some(each) = message.changes.iter().find_map(|change| change.component.as_ref()) {
                say(json!({"change": tags_of(&each.releases)}));
                // A stream that is dropped is cancelled, and tells nothing more.
                return Ok(json!({"ended": "CANCELLED"}));
            }
        }
        Ok(json!({"ended": "OK"}))
    }

    async fn checked(&mut self) -> Found {
        let request = self.called(HealthCheckRequest { service: String::new() }, PATIENCE);
        let answer = self.health.check(request).await?.into_inner();
        Ok(json!({"status": answer.status().as_str_name()}))
    }

    async fn large(&mut self) -> Found {
        let named = |each: usize| ResolveRequest {
            repo: format!("acme/{}{each}", "a".repeat(100)),
            job_id: "j".repeat(150),
            ..job("restyler")
        };
        let request = self.called(BatchResolveRequest { requests: (0..1000).map(named).collect() }, PATIENCE);
        let results = self.resolver.batch_resolve(request).await?.into_inner().results;
        let tags: BTreeSet<_> = results
            .iter()
            .map(|each| match &each.result {
                Some(resolve_result::Result::Response(response)) => Some(&response.tag),
                _ => None,
            })
            .collect();
        Ok(json!({"results": results.len(), "tags": tags.len()}))
    }

    async fn until_the_end(mut self) -> String {
        let request = self.called(WatchRequest::default(), MINUTE);
        let mut stream = match self.resolver.watch(request).await {
            Ok(answer) => answer.into_inner(),
            Err(error) => return name_of(error.code()),
        };
        loop {
            match stream.message().await {
                Ok(Some(_)) => (),
                Ok(None) => return name_of(Code::Ok),
                Err(error) => return name_of(error.code()),
            }
        }
    }

    /// Keeps calling until each caller has seen an error, while a stream is open.
    async fn calls(&mut self) -> Found {
        let stream = tokio::spawn(self.clone().until_the_end());
        let (said, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (mut own, said) = (self.clone(), said.clone());
                tokio::spawn(async move {
                    let (mut answered, mut wrong) = (0, 0);
                    loop {
                        match own.resolve(job("restyler"), PATIENCE).await {
                            Ok(tag) => wrong += u64::from(tag != "t1"),
                            Err(error) => return (answered, wrong, name_of(error.code())),
                        }
                        answered += 1;
                        if answered == 20 {
                            let _ = said.send(());
                        }
                    }
                })
            })
            .collect();
        for _ in 0..CALLERS {
            begun.recv().await;
        }
        say(json!({"begun": true}));
        let (mut answered, mut wrong, mut ends) = (0_u64, 0, BTreeMap::new());
        for each in callers {
            let (own, own_wrong, code) = each.await?;
            (answered, wrong) = (answered + own, wrong + own_wrong);
            *ends.entry(code).or_insert(0) += 1;
        }
        Ok(json!({"answered": answered, "wrong": wrong, "ends": ends, "stream": stream.await?}))
    }

    async fn bench(&mut self, calls: usize) -> Found {
        let mut waits = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            self.resolve(job("restyler"), Duration::from_secs(5)).await?;
            waits.push(began.elapsed().as_nanos() as f64 / 1000.0);
        }
        waits.sort_by(f64::total_cmp);
        Ok(json!({"p50_us": waits[calls / 2], "p99_us": waits[calls * 99 / 100]}))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::new(&std::env::args().collect::<Vec<_>>())?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
        say(match word {
            "resolve" => client.resolved().await?,
            "refused" => client.refused(job("none"), PATIENCE).await,
            "watch" => client.watch().await?,
            "late" => client.code(job("restyler"), Duration::from_millis(500)).await,
            "health" => client.checked().await?,
            "large" => client.large().await?,
            "too_large" => {
                let job_id = "j".repeat(5 << 20);
                client.code(ResolveRequest { job_id, ..job("restyler") }, PATIENCE).await
            }
            "calls" => client.calls().await?,
            "bench" => client.bench(argument.parse()?).await?,
            _ => json!({"unknown": word}),
        });
    }
    Ok(())
}

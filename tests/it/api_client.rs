//! Single requests to a real API server, beside the program's own.

use std::path::Path;

use serde_json::Value;

/// A client with the runtime that its connections belong to.
pub struct ApiClient {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
}

impl ApiClient {
    /// As whoever a kubeconfig names.
    pub fn open(kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let read = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
            let config = kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await;
            kube::Client::try_from(config.unwrap()).unwrap()
        });
        Self { runtime, client }
    }

    /// Status and body of the answer; 0 when there is none. With a body goes its content type.
    pub fn call(&self, method: &str, path: &str, body: Option<(&str, Value)>) -> (u16, Value) {
        let request = http::Request::builder().method(method).uri(path).header("accept", "application/json");
        let request = match &body {
            Some((kind, _)) => request.header("content-type", *kind),
            None => request,
        };
        let body = body.map(|(_, body)| body.to_string()).unwrap_or_default();
        self.runtime.block_on(async {
            let request = request.body(kube::client::Body::from(body.into_bytes())).unwrap();
            let Ok(answer) = self.client.send(request).await else { return (0, Value::Null) };
            let status = answer.status().as_u16();
            let bytes = answer.into_body().collect_bytes().await.unwrap();
            (status, serde_json::from_slice(&bytes).unwrap_or_default())
        })
    }
}

//! Where log lines of `run` go, and how; and traces, where they are built in and asked for.

use tokio::runtime::Runtime;
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::LogFormat;
use super::console::Console;
use super::failure::Failure;

/// Begins to log. Dropping what is given back sends the traces that are left.
pub(super) fn begin(format: LogFormat, console: &Console, runtime: &Runtime) -> Result<Option<impl Sized>, Failure> {
    // Lines of libraries are of use only when something fails in them.
    let ours = Targets::new().with_target("streamkeeper", Level::INFO).with_default(Level::ERROR);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(console.err_paint().color).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    #[cfg(feature = "otlp")]
    let (layer, traces) = super::traces::layer(runtime.handle())?.unzip();
    #[cfg(not(feature = "otlp"))]
    let (layer, traces) = {
        let _ = runtime;
        (None::<tracing_subscriber::layer::Identity>, None::<()>)
    };
    // A second one in the same process is not needed.
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).with(layer).try_init();
    Ok(traces)
}

//! The export of traces and metrics, where Squire was built with it.

#[cfg(feature = "otlp")]
pub(super) use with::{Collector, Exports, collector, open};
#[cfg(not(feature = "otlp"))]
pub(super) use without::{Collector, Exports, collector, open};

#[cfg(feature = "otlp")]
mod with {
    use std::time::Duration;

    use crate::admin::serve::Server;
    use crate::fact::chain;
    pub(in crate::cli) use crate::otlp::Exports;
    use crate::otlp::exporter::Exporter;
    use crate::otlp::meter::Meter;
    use crate::otlp::settings::Settings;

    /// Where traces and metrics go.
    pub(in crate::cli) struct Collector {
        traces: Option<Settings>,
        metrics: Option<(Settings, Duration)>,
    }

    impl Collector {
        /// Whether somebody wants to know what is counted.
        pub(in crate::cli) fn is_measured(&self) -> bool {
            self.metrics.is_some()
        }
    }

    /// What the environment says of it, before the keys in it are forgotten.
    pub(in crate::cli) fn collector() -> Option<Collector> {
        let environment = |name: &str| std::env::var(name).ok();
        let traces = Settings::traces(&environment).unwrap_or_else(|error| no_traces(&error));
        let metrics = Settings::metrics(&environment).unwrap_or_else(|error| no_metrics(&error));
        (traces.is_some() || metrics.is_some()).then_some(Collector { traces, metrics })
    }

    /// Without its collector an agent still does its work. `server` has what is measured.
    pub(in crate::cli) fn open(collector: Collector, server: Option<&Server>) -> Exports {
        let Collector { traces, metrics } = collector;
        let traces = traces.and_then(|to| Exporter::start(to).map_or_else(|error| no_traces(&error), Some));
        let metrics = metrics.zip(server.cloned()).and_then(|((to, every), server)| {
            Meter::start(to, every, server).map_or_else(|error| no_metrics(&error), Some)
        });
        Exports { traces, metrics }
    }

    fn no_traces<T>(error: &dyn std::error::Error) -> Option<T> {
        tracing::warn!(error = chain(error), "traces are not exported");
        None
    }

    fn no_metrics<T>(error: &dyn std::error::Error) -> Option<T> {
        tracing::warn!(error = chain(error), "metrics are not exported");
        None
    }
}

#[cfg(not(feature = "otlp"))]
mod without {
    use crate::admin::serve::Server;
    use crate::fact::Told;

    /// Nothing has this type.
    #[derive(Clone, Copy)]
    pub(in crate::cli) enum Collector {}

    impl Collector {
        #[expect(clippy::trivially_copy_pass_by_ref, reason = "the real one is not small")]
        pub(in crate::cli) fn is_measured(&self) -> bool {
            match *self {}
        }
    }

    /// Whoever asks for traces or metrics is told that there will be none.
    pub(in crate::cli) fn collector() -> Option<Collector> {
        const ENDPOINTS: [&str; 3] = [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        ];
        let is = |name, word: &str| std::env::var(name).is_ok_and(|text| text.eq_ignore_ascii_case(word));
        let is_off = is("OTEL_SDK_DISABLED", "true")
            || is("OTEL_TRACES_EXPORTER", "none") && is("OTEL_METRICS_EXPORTER", "none");
        let set =
            ENDPOINTS.into_iter().find(|name| std::env::var_os(name).is_some_and(|text| !text.is_empty()));
        if let Some(variable) = set.filter(|_| !is_off) {
            tracing::warn!(variable, "ignored: squire was built without the feature otlp");
        }
        None
    }

    /// Nothing has this type.
    pub(in crate::cli) enum Exports {}

    pub(in crate::cli) fn open(collector: Collector, _server: Option<&Server>) -> Exports {
        match collector {}
    }

    impl Exports {
        pub(in crate::cli) fn tell(&mut self, _told: &Told) {
            match *self {}
        }

        #[expect(clippy::unused_async, reason = "the real one waits for its collector")]
        pub(in crate::cli) async fn close(self) {
            match self {}
        }
    }
}

//! Squire as it is built without the feature `otlp`.

use crate::support::{Bao, Rig};

#[test]
fn who_asks_for_traces_is_told_once_that_there_are_none() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    for (variable, said) in [("OTEL_SERVICE_NAME", 0), ("OTEL_EXPORTER_OTLP_ENDPOINT", 1)] {
        let rig = Rig::new(&tenant);
        rig.config("[process]\ncommand = [\"true\"]\n");
        rig.set(variable, "http://127.0.0.1:9");
        let outcome = rig.run().outcome(crate::support::SOON);
        let times = outcome.stderr.matches("ignored: squire was built without the feature otlp").count();
        assert_eq!((outcome.code, times), (0, said), "{}", outcome.stderr);
    }
}

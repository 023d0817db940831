//! What a service manager is told. The tests stand in its place, at the other end of its socket.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Rig, SOON, ask, fresh, rig_of_store, store};

/// The other end of `NOTIFY_SOCKET`, and all that was said so far.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn of(rig: &Rig) -> Self {
        let path = rig.path("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        rig.set("NOTIFY_SOCKET", path.to_str().unwrap());
        Self { socket, heard: Vec::new() }
    }

    fn listen(&mut self) {
        let mut message = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut message) {
            let message = str::from_utf8(&message[..count]).unwrap();
            self.heard.extend(message.lines().map(str::to_owned));
        }
    }

    fn has_heard(&self, word: &str) -> bool {
        self.heard.iter().any(|heard| heard.contains(word))
    }

    /// Listens until it hears this.
    #[track_caller]
    fn hears(&mut self, word: &str) {
        let by = Instant::now() + SOON;
        while !self.has_heard(word) {
            assert!(Instant::now() < by, "{word} in {:?}", self.heard);
            self.listen();
        }
    }
}

/// The process says when it is ready itself, to a socket that is another one than the manager's.
#[test]
fn a_unit_is_ready_when_its_process_is_and_says_how_it_goes() {
    let app = r#"
        [process]
        command = ["sh", "-c", "env > @dir@/seen/env; until [ -e @dir@/seen/go ]; do sleep 0.02; done; python3 @dir@/ready.py; exec sleep 1000"]
        env = { PASSWORD = "{{db.password}}" }
        [rollout]
        probe = { notify = true, timeout = "60s" }
    "#;
    let rig = rig_of_store(&json!({ "password": fresh("first") }), app);
    rig.allow_secrets_in("seen/env");
    rig.write(
        "ready.py",
        "import os,socket\nname=os.environ['NOTIFY_SOCKET']\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
         s.connect('\\0'+name[1:] if name[0]=='@' else name)\ns.send(b'READY=1')\n",
    );
    let mut manager = Manager::of(&rig);
    rig.set("WATCHDOG_USEC", "200000");
    let mut squire = rig.run();
    // Nobody reads what is said so far, and nothing waits for that.
    squire.wait_until("the process runs", || rig.read("seen/env").contains("PASSWORD="));
    manager.hears("WATCHDOG=1");
    assert!(!manager.has_heard("READY=1"), "{:?}", manager.heard);
    let env = rig.read("seen/env");
    assert!(!env.contains("manager.sock") && !env.contains("WATCHDOG_USEC"), "{env}");

    rig.write("seen/go", "");
    manager.hears("READY=1");
    manager.hears("STATUS=generation 1 is live");
    store(&rig, &["put", "prod/app/db"], &json!({ "password": fresh("second") }).to_string());
    manager.hears("STATUS=generation 2 is live");
    let times = |manager: &Manager, word: &str| manager.heard.iter().filter(|heard| *heard == word).count();
    assert_eq!(times(&manager, "READY=1"), 1);
    assert!(ask(&rig, &["reload"]).status.success());
    manager.hears("STATUS=configuration read anew, nothing differs");
    assert_eq!((times(&manager, "RELOADING=1"), times(&manager, "READY=1")), (1, 2), "{:?}", manager.heard);
    assert!(manager.has_heard("MONOTONIC_USEC="), "{:?}", manager.heard);
    assert_eq!(squire.stop(), 143);
    manager.hears("STOPPING=1");
}

#[test]
fn what_keeps_a_unit_from_being_ready_is_its_status() {
    let rig = rig_of_store(
        &json!({ "password": fresh("first") }),
        "[process]\ncommand = [\"sleep\", \"1000\"]\nenv = { P = \"{{db.other}}\" }\n",
    );
    let mut manager = Manager::of(&rig);
    let mut squire = rig.run();
    squire.wait_until("it waits", || {
        rig.read("stderr.1").contains("still waiting for the first complete release")
    });
    manager.hears("STATUS=waiting for the first release: ");
    manager.hears("other");
    squire.stop();
    assert!(!manager.has_heard("READY=1"));
}

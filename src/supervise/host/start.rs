//! Starts a process with its standard streams and sockets.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Host, Report, Running, Streams, Ticket};
use crate::supervise::cgroup::Cgroup;
use crate::supervise::child::{self, Ends};
use crate::supervise::ready::ReadySocket;
use crate::supervise::tail::Tail;
use crate::supervise::{Launch, Refusal};

impl Host {
    pub(super) fn spawn(&mut self, ticket: Ticket, launch: &Launch, streams: Streams) {
        (self.report)(match self.started(ticket, launch, streams) {
            Ok((pid, running)) => {
                self.running.insert(pid, running);
                Report::Started { ticket, pid }
            }
            Err(refusal) => Report::Refused { ticket, refusal },
        });
    }

    fn started(&self, ticket: Ticket, launch: &Launch, streams: Streams) -> Result<(Pid, Running), Refusal> {
        let system = |doing| {
            move |cause| Refusal::System {
                program: launch.command.first().cloned().unwrap_or_default(),
                doing,
                cause,
            }
        };
        let (tail, output) = match streams {
            Streams::Captured => {
                let (tail, output) = Tail::new().map_err(system("making a pipe"))?;
                (Some(tail), Some(output))
            }
            Streams::Inherited | Streams::Aside => (None, None),
        };
        let ready = match streams {
            Streams::Inherited if launch.setting.says_ready => {
                let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
                Some(ReadySocket::new().map_err(|error| system("making its NOTIFY_SOCKET")(errno(error)))?)
            }
            Streams::Inherited | Streams::Aside | Streams::Captured => None,
        };
        let cgroup = match streams {
            Streams::Inherited => self.cgroups.make(ticket.0),
            Streams::Aside | Streams::Captured => None,
        };
        let notify_socket = ready.as_ref().map(ReadySocket::address);
        let ends = Ends {
            streams,
            output: output.as_ref(),
            notify_socket: notify_socket.as_deref(),
            cgroup: cgroup.as_ref().map(Cgroup::procs),
        };
        let pid = child::spawn(launch, &ends, &self.surroundings)?;
        let stop_signal = launch.setting.last_signal.unwrap_or(Signal::SIGTERM);
        Ok((pid, Running { ticket, streams, stop_signal, is_killed: false, tail, ready, cgroup }))
    }
}

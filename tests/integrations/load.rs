//! Somebody who asks a service over HTTP all the time, and remembers each answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::setup::LONG;
use crate::support::wait_until;

/// One answer: its status, its body, and a header.
pub(crate) type Answer = (u16, String, String);

/// Asks until it is dropped.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Asks with this question, again and again. A question that nobody answers counts as an answer with the status 0.
    pub(crate) fn start(mut question: impl FnMut() -> Answer + Send + 'static) -> Self {
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ends_too, answers_too) = (Arc::clone(&ends), Arc::clone(&answers));
        let thread = std::thread::spawn(move || {
            while !ends_too.load(Ordering::Relaxed) {
                let answer = question();
                answers_too.lock().unwrap().push(answer);
                // Enough to be there at every moment, and not so much that nothing else gets to run.
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { ends, answers, thread: Some(thread) }
    }

    /// Waits for this many further answers for which the condition holds.
    #[track_caller]
    pub(crate) fn wait_for(&self, more: usize, what: &str, condition: impl Fn(&Answer) -> bool) {
        let count = || self.answers.lock().unwrap().iter().filter(|answer| condition(answer)).count();
        let before = count();
        wait_until(LONG, what, || count() >= before + more);
    }

    /// Every answer so far.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap().clone()
    }

    /// Checks that every question got the status 200.
    #[track_caller]
    pub(crate) fn nothing_was_lost(&self) {
        let answers = self.answers();
        let lost: Vec<_> = answers.iter().filter(|answer| answer.0 != 200).collect();
        assert!(lost.is_empty(), "{} of {}: {:?}", lost.len(), answers.len(), &lost[..lost.len().min(5)]);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Asks for a URL with this header, and notes this header of the answer.
pub(crate) fn ask(url: &str, (name, value): (&str, &str), noted: &str) -> Answer {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .new_agent();
    match agent.get(url).header(name, value).call() {
        Ok(mut response) => {
            let header = response.headers().get(noted).and_then(|value| value.to_str().ok());
            let header = header.unwrap_or_default().to_owned();
            let body = response.body_mut().read_to_string().unwrap_or_default();
            (response.status().as_u16(), body, header)
        }
        Err(error) => (0, error.to_string(), String::new()),
    }
}

/// Asks for a URL.
pub(crate) fn get(url: &str) -> Answer {
    ask(url, ("accept", "*/*"), "content-type")
}

/// Waits until a service answers.
#[track_caller]
pub(crate) fn wait_for_service(url: &str) {
    wait_until(LONG, &format!("{url} answers"), || get(url).0 != 0);
}

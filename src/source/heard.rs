//! What a server says of a question beside its answer: what its own log calls the request, and what it calls our token.
//!
//! It is for the log and the audit alone, and nothing is decided by it. So it is not in the answers of [`super::Source`]: a backend notes it
//! while it asks, in the task that asks, and whoever put the question takes it from there.
//!
//! *Invariant:* what is noted has the form of an identifier, whatever the server sent. Without a listener it is forgotten.

use std::cell::RefCell;
use std::future::Future;

use crate::names::{Accessor, RequestId};

tokio::task_local! {
    static HEARD: RefCell<Heard>;
}

/// What was heard beside one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What the server calls the request; of several, the last one.
    pub request: Option<RequestId>,
    /// What it calls the token.
    pub accessor: Option<Accessor>,
}

/// Puts a question, and hears what is said beside the answer.
pub async fn listening<T>(question: impl Future<Output = T>) -> (T, Heard) {
    HEARD
        .scope(RefCell::default(), async {
            let answer = question.await;
            (answer, HEARD.with(RefCell::take))
        })
        .await
}

/// Notes the name of a request; that of one which was noted before is forgotten.
pub(super) fn request(id: Option<RequestId>) {
    note(|heard| heard.request = id);
}

/// Notes the name of the token.
pub(super) fn accessor(name: Option<Accessor>) {
    if name.is_some() {
        note(|heard| heard.accessor = name);
    }
}

fn note(write: impl FnOnce(&mut Heard)) {
    // Who does not listen does not want to know.
    HEARD.try_with(|heard| write(&mut heard.borrow_mut())).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_question_hears_its_own() {
        const ID: &str = "0b1c2d3e-0000-1111-2222-333344445555";
        let asked = async |id: &str| {
            request(RequestId::heard(id));
            tokio::task::yield_now().await;
            7
        };
        let (one, other) = tokio::join!(listening(asked(ID)), listening(asked("no id")));
        assert_eq!(one, (7, Heard { request: RequestId::heard(ID), accessor: None }));
        assert_eq!(other, (7, Heard::default()));
        asked(ID).await;
    }
}

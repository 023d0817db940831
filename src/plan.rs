//! What to want, what to render, who reacts.

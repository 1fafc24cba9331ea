//! Values whose drop may wait.

use std::ops::Deref;

use pyo3::prelude::*;

/// A value whose drop may wait for the network or a file: it is dropped without the GIL.
pub(crate) struct Detached<T: Send>(Option<T>);

impl<T: Send> Detached<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send> Deref for Detached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("only the drop takes the value"),
        }
    }
}

impl<T: Send> Drop for Detached<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        // Without an interpreter, the closure is dropped here.
        Python::try_attach(|py| py.detach(|| drop(value)));
    }
}

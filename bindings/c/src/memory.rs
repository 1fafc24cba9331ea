//! Strings, handles and panics at the boundary.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};

use dp_verifier_bindings::{Failure, guarded};
use serde_json::Value;

use crate::DpvCode;

/// Frees a string that this library returned.
///
/// # Safety
///
/// `text` is NULL, or a string of this library that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpv_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: `give` created the string by `into_raw`.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Reads a string argument.
///
/// # Safety
///
/// `text` is NULL, or ends with NUL and lives for `'t`.
pub(crate) unsafe fn text<'t>(name: &str, text: *const c_char) -> Result<&'t str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller promises a string that ends with NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::argument(format!("`{name}` is not UTF-8")))
}

/// Reads a token or a document, which others may have sent. Wrong UTF-8 is replaced, so the verifier refuses
/// it as malformed, as in the other languages. It is no mistake of the application.
///
/// # Safety
///
/// As for [`text`].
pub(crate) unsafe fn sent<'t>(name: &str, text: *const c_char) -> Result<Cow<'t, str>, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller promises a string that ends with NUL.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

/// Reads an argument of JSON. NULL is `null`.
///
/// # Safety
///
/// As for [`text`].
pub(crate) unsafe fn json(name: &str, value: *const c_char) -> Result<Value, Failure> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    // SAFETY: the caller's promise is that of this function.
    let value = unsafe { text(name, value) }?;
    serde_json::from_str(value).map_err(|_| Failure::argument(format!("`{name}` is not JSON")))
}

/// Reads a handle argument.
///
/// # Safety
///
/// `handle` is NULL, or a live handle of this library.
pub(crate) unsafe fn handle<'h, T>(name: &str, handle: *const T) -> Result<&'h T, Failure> {
    // SAFETY: the caller promises NULL or a live handle.
    let handle = unsafe { handle.as_ref() };
    handle.ok_or_else(|| Failure::argument(format!("`{name}` is NULL")))
}

/// Returns a string to the caller, who frees it.
pub(crate) fn give(text: String) -> *mut c_char {
    // JSON and tokens contain no NUL.
    CString::new(text).map_or(std::ptr::null_mut(), CString::into_raw)
}

/// Writes an out parameter.
///
/// # Safety
///
/// `out` is NULL, or writable.
unsafe fn put<T>(out: *mut *mut T, value: *mut T) {
    if !out.is_null() {
        // SAFETY: the caller promises a writable place.
        unsafe { out.write(value) };
    }
}

/// Runs a function, and writes its answer or its failure as JSON.
///
/// # Safety
///
/// `answer` is NULL, or writable.
pub(crate) unsafe fn answered(
    answer: *mut *mut c_char,
    run: impl FnOnce() -> Result<String, Failure>,
) -> DpvCode {
    let has_no_nul = |text: String| match text.contains('\0') {
        true => Err(Failure::internal("the answer contains NUL")),
        false => Ok(text),
    };
    let (code, text) = match guarded(|| run().and_then(has_no_nul)) {
        Ok(text) => (DpvCode::Ok, text),
        Err(failure) => (DpvCode::of(&failure), failure.to_json().to_string()),
    };
    if !answer.is_null() {
        // SAFETY: the caller promises a writable place.
        unsafe { put(answer, give(text)) };
    }
    code
}

/// Runs a function, and writes its handle, or its failure as JSON. The other one becomes NULL.
///
/// # Safety
///
/// `out` and `error` are NULL, or writable.
pub(crate) unsafe fn handed<T>(
    out: *mut *mut T,
    error: *mut *mut c_char,
    run: impl FnOnce() -> Result<T, Failure>,
) -> DpvCode {
    // A result that is not wanted is dropped inside, because its drop may panic, too.
    let wanted = || run().map(|value| (!out.is_null()).then(|| Box::new(value)));
    let (code, handle, text) = match guarded(wanted) {
        Ok(value) => (DpvCode::Ok, value.map_or(std::ptr::null_mut(), Box::into_raw), None),
        Err(failure) => (DpvCode::of(&failure), std::ptr::null_mut(), Some(failure)),
    };
    // SAFETY: the caller promises writable places.
    unsafe {
        put(out, handle);
        if !error.is_null() {
            let text = text.map(|failure| give(failure.to_json().to_string()));
            put(error, text.unwrap_or(std::ptr::null_mut()));
        }
    }
    code
}

/// Frees a handle.
///
/// # Safety
///
/// `handle` is NULL, or a handle of [`handed`] that was not freed before.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: `handed` created the handle by `into_raw`.
        let handle = unsafe { Box::from_raw(handle) };
        let freed = guarded(|| {
            drop(handle);
            Ok(())
        });
        drop(freed);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_char};
    use std::ptr::null_mut;

    use super::{answered, dpv_string_free, free, handed};
    use crate::DpvCode;

    #[test]
    fn panic_becomes_an_error() {
        let mut error: *mut c_char = null_mut();
        let mut out: *mut u8 = null_mut();
        // SAFETY: both places are writable.
        let code = unsafe { handed(&raw mut out, &raw mut error, || panic!("a test")) };
        assert_eq!((code, out.is_null()), (DpvCode::InternalError, true));
        // SAFETY: the function wrote a string.
        let text = unsafe { CStr::from_ptr(error) }.to_str().unwrap().to_owned();
        assert!(text.contains(r#""code":"internal_error""#), "{text}");
        // SAFETY: the string was not freed; the second call gets NULL.
        unsafe {
            dpv_string_free(error);
            dpv_string_free(null_mut());
        }
        // SAFETY: no answer is wanted.
        let code = unsafe { answered(null_mut(), || panic!("a test")) };
        assert_eq!(code, DpvCode::InternalError);
    }

    /// A value whose drop panics.
    struct Faulty;

    impl Drop for Faulty {
        fn drop(&mut self) {
            panic!("a test");
        }
    }

    #[test]
    fn panic_in_a_drop_stays_inside() {
        // SAFETY: neither result is wanted.
        let code = unsafe { handed(null_mut(), null_mut(), || Ok(Faulty)) };
        assert_eq!(code, DpvCode::InternalError);
        let mut out: *mut Faulty = null_mut();
        // SAFETY: the place is writable, and the handle is freed once.
        unsafe {
            assert_eq!(handed(&raw mut out, null_mut(), || Ok(Faulty)), DpvCode::Ok);
            free(out);
        }
    }

    #[test]
    fn answer_with_nul_is_an_error() {
        let mut answer: *mut c_char = null_mut();
        // SAFETY: the place is writable, and the function wrote a string.
        unsafe {
            let code = answered(&raw mut answer, || Ok("a\0b".to_owned()));
            assert_eq!((code, answer.is_null()), (DpvCode::InternalError, false));
            dpv_string_free(answer);
        }
    }
}

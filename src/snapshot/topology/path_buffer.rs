//! Paths below a held directory, joined without allocation.

use std::ffi::CStr;

/// A buffer for a path and its NUL; the kernel has no longer paths.
pub(in crate::snapshot) struct PathBuffer([u8; PATH_BYTES_MAX]);

const PATH_BYTES_MAX: usize = 4096;

impl Default for PathBuffer {
    fn default() -> Self {
        Self([0; PATH_BYTES_MAX])
    }
}

impl PathBuffer {
    /// The parts joined; `None` if they do not fit or hold a NUL.
    pub fn join(&mut self, parts: &[&[u8]]) -> Option<&CStr> {
        let mut end = 0;
        for part in parts {
            self.0.get_mut(end..end + part.len())?.copy_from_slice(part);
            end += part.len();
        }
        *self.0.get_mut(end)? = 0;
        CStr::from_bytes_with_nul(self.0.get(..=end)?).ok()
    }
}

//! The option parser, given any command line: words that NULs divide.

#![no_main]

use std::ffi::{CStr, CString};

use libfuzzer_sys::fuzz_target;
use tinyctr::arch::ThinCStr;
use tinyctr::buf::Line;
use tinyctr::options::{Request, parse};
use tinyctr::sys;

fuzz_target!(|bytes: &[u8]| {
    let words = bytes.split(|&byte| byte == 0).map(|word| CString::new(word).expect("no NUL"));
    let words: Vec<CString> = words.collect();
    let mut argv: Vec<_> = words.iter().map(|word| Some(ThinCStr::new(word))).collect();
    argv.push(None);
    match parse(&argv) {
        Ok(Request::Run(options)) => {
            assert!(!options.image.is_empty());
            let command = options.command.iter().flatten().map(|word| word.to_cstr());
            let tail: Vec<&CStr> = [options.image].into_iter().chain(command).collect();
            let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
            assert!(words.ends_with(&tail), "what follows the options is not read");
            assert!(options.environment().all(|entry| !entry.is_empty()));
        }
        Ok(Request::Help | Request::Version) => {}
        Err(error) => {
            assert_eq!(error.exit_code(), 125);
            let mut line = Line::<1024>::new();
            error.line(&mut line, sys::texts().expect("memory"));
            let ends = line.as_bytes().iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(ends, 1, "whatever the words, the error is one line");
        }
    }
});

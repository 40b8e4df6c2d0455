//! How a command fails: what is printed and the exit code.

use std::process::ExitCode;

/// A failed command.
#[derive(Debug)]
pub struct Failed {
    pub code: u8,
    pub error: anyhow::Error,
}

/// The message ended undelivered.
pub const UNDELIVERED: u8 = 10;
/// Bad configuration (EX_USAGE of sysexits.h).
pub const CONFIGURATION: u8 = 64;

impl Failed {
    pub fn new(code: u8, error: anyhow::Error) -> Self {
        Self { code, error }
    }

    /// Prints why, with the causes, and gives the exit code.
    pub fn tell(self) -> ExitCode {
        if self.code != 0 {
            eprintln!("error: {:#}", self.error);
        }
        ExitCode::from(self.code)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::new(1, error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        // The reader has seen enough, as in `| head`.
        let code = u8::from(error.kind() != std::io::ErrorKind::BrokenPipe);
        Self::new(code, error.into())
    }
}

impl From<herald_sdk::Error> for Failed {
    fn from(error: herald_sdk::Error) -> Self {
        let code = error.code();
        // A server that answers gives a reason.
        let is_unreachable = code == tonic::Code::Unavailable && error.reason_name().is_empty();
        let error = anyhow::Error::from(error);
        let hint = "is the server running, and is this its address (--address, HERALD_ADDRESS)?";
        Self::new(code_of(code), if is_unreachable { anyhow::anyhow!("{error}; {hint}") } else { error })
    }
}

/// The exit code for a gRPC code.
pub fn code_of(code: tonic::Code) -> u8 {
    use tonic::Code;
    match code {
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Aborted => 3,
        Code::Unauthenticated | Code::PermissionDenied => 4,
        Code::NotFound => 5,
        Code::ResourceExhausted => 6,
        Code::Unavailable | Code::DeadlineExceeded => 7,
        _ => 1,
    }
}

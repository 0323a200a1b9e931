import Glibc

/// The signals by which a user, an administrator or the end of a terminal ends a program.
public enum EndingSignals {
    /// Their numbers.
    public static let numbers = [SIGINT, SIGTERM, SIGHUP]

    /// Keeps them off this thread, and off those that it starts meanwhile; what comes is delivered afterwards.
    public static func keptOff<Result, Failure: Error>(
        during body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var endings = sigset_t()
        var before = sigset_t()
        unsafe sigemptyset(&endings)
        for number in numbers { unsafe sigaddset(&endings, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &endings, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        return try body()
    }
}

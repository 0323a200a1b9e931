import Glibc
import Platform

/// A file that is of no use before it is complete, and is removed if Ctrl-C, kill or the end of the terminal ends the program
/// meanwhile. One at a time.
enum UnfinishedFile {
    // The handler may run between any two instructions: it only reads this, and only one thread writes it.
    nonisolated(unsafe) private static var path: UnsafeMutablePointer<CChar>?

    /// Makes a file, which is unfinished from then on: no signal comes in between. On the main thread, where they come.
    static func making<Result, Failure: Error>(
        _ name: String, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try EndingSignals.keptOff { () throws(Failure) in
            let result = try body()
            begin(name)
            return result
        }
    }

    private static func begin(_ name: String) {
        end()
        unsafe path = strdup(name)
        for number in EndingSignals.numbers {
            var action = sigaction()
            unsafe action.__sigaction_handler.sa_handler = { number in
                if let path = unsafe UnfinishedFile.path { _ = unsafe unlink(path) }
                // The program ends as without this handler, once it has returned.
                _ = signal(number, SIG_DFL)
                _ = raise(number)
            }
            var old = sigaction()
            guard unsafe sigaction(number, nil, &old) == 0 else { continue }
            // What nohup or a shell has switched off stays off.
            let isIgnored = unsafe unsafeBitCast(old.__sigaction_handler.sa_handler, to: Int.self) == 1
            if !isIgnored { _ = unsafe sigaction(number, &action, nil) }
        }
    }

    /// The file is complete, or gone.
    static func end() {
        guard unsafe path != nil else { return }
        // Not freed: the handler may be reading it.
        unsafe path = nil
        for number in EndingSignals.numbers {
            var current = sigaction()
            guard unsafe sigaction(number, nil, &current) == 0,
                unsafe unsafeBitCast(current.__sigaction_handler.sa_handler, to: Int.self) != 1
            else { continue }
            _ = signal(number, SIG_DFL)
        }
    }

    /// Removes the file if there is one.
    static func remove() {
        if let path = unsafe path { _ = unsafe unlink(path) }
        end()
    }
}

import Glibc
import SystemPackage

/// The terminal that a person sits at.
public enum Terminal {
    /// How reading a line without echo ended.
    public enum Line: Sendable, Equatable {
        /// A line, without its end.
        case text([UInt8])
        /// Ctrl-C.
        case interrupted
        /// Ctrl-D on an empty line, or the terminal is gone.
        case ended
    }

    /// Asks on the controlling terminal (/dev/tty) and reads a line that isn't shown.
    ///
    /// Characters are read one by one, without the terminal's signals: whatever happens, echo is on again at the end.
    ///
    /// - Throws: ENXIO or ENOENT when there is no terminal.
    public static func readSecret(prompt: String) throws(Errno) -> Line {
        let terminal = try SystemCall.open("/dev/tty", O_RDWR | O_NOCTTY)
        let descriptor = terminal.rawValue
        var saved = termios()
        try SystemCall.retrying { unsafe tcgetattr(descriptor, &saved) }
        var quiet = saved
        quiet.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
        quiet.c_iflag |= tcflag_t(ICRNL)
        // Before the prompt: who answers as soon as it is there must not see the answer, nor lose it.
        try SystemCall.retrying { unsafe tcsetattr(descriptor, TCSAFLUSH, &quiet) }
        defer {
            _ = unsafe tcsetattr(descriptor, TCSAFLUSH, &saved)
            let newline: [UInt8] = [0x0A]
            try? unsafe SystemCall.writeAll(descriptor, newline.span.bytes)
        }
        try unsafe SystemCall.writeAll(descriptor, Array(prompt.utf8).span.bytes)
        var line: [UInt8] = []
        while true {
            var byte: [UInt8] = [0]
            var span = byte.mutableSpan
            var bytes = unsafe span.mutableBytes
            if try SystemCall.read(descriptor, into: &bytes) == 0 { return line.isEmpty ? .ended : .text(line) }
            switch byte[0] {
            case 0x0A, 0x0D: return .text(line)
            case 0x03, 0x1C: return .interrupted
            case 0x04: if line.isEmpty { return .ended }
            case 0x15: line.removeAll()
            // Ctrl-Z would stop the program anywhere else: no part of a password.
            case 0x1A: continue
            case 0x08, 0x7F:
                // A whole UTF-8 sequence.
                while let last = line.popLast(), last & 0xC0 == 0x80 {}
            default: line.append(byte[0])
            }
        }
    }
}

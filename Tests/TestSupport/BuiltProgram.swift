import CLinux
import Glibc
import Platform
import SystemPackage

/// A program that the same build has made, run as a user runs it.
public struct BuiltProgram: Sendable {
    /// How a run ended.
    public struct Result: Sendable {
        /// The exit code; 128 and the signal's number if one ended it.
        public let status: Int32
        /// What it wrote to standard output.
        public let output: [UInt8]
        /// What it wrote to standard error.
        public let errors: String

        /// Standard output as text.
        public var text: String { String(decoding: output, as: UTF8.self) }
        /// The lines of standard output.
        public var lines: [String] { text.split(separator: "\n").map(String.init) }
    }

    /// Where the program is.
    public let path: String

    /// The command line tool.
    public static func saltbridge() throws -> BuiltProgram { try named("saltbridge") }

    /// One of the project's programs, beside the running test program.
    public static func named(_ name: String) throws -> BuiltProgram {
        let own = try SystemCall.readLinkAt(AT_FDCWD, Array("/proc/self/exe".utf8))
        let folder = FilePath(String(decoding: own, as: UTF8.self)).removingLastComponent()
        return BuiltProgram(path: folder.appending(name).string)
    }

    /// A program of the host.
    public init(path: String) {
        self.path = path
    }

    /// Runs it to its end. It has no terminal.
    public func run(_ arguments: [String], input: [UInt8] = [], in directory: TemporaryDirectory) throws -> Result {
        let tag = try SystemCall.randomBytes(count: 6).map { String($0, radix: 16) }.joined()
        let names = ["in", "out", "err"].map { directory.file(".\(tag).\($0)") }
        do {
            let file = try SystemCall.open(names[0], O_WRONLY | O_CREAT, mode: 0o600)
            try unsafe SystemCall.writeAll(file.rawValue, input.span.bytes)
        }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, names[0], O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, names[1], O_WRONLY | O_CREAT, 0o600)
        unsafe posix_spawn_file_actions_addopen(&actions, 2, names[2], O_WRONLY | O_CREAT, 0o600)
        // What other tests have open at the moment would keep their mounts busy.
        unsafe clinux_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // POSIX_SPAWN_SETSID: a session of its own has no terminal. POSIX_SPAWN_SETSIGMASK: the threads of tests block signals.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, 0x80 | 0x08)
        var process: pid_t = 0
        let strings = unsafe ([path] + arguments).map { unsafe strdup($0) }
        defer { unsafe strings.forEach { unsafe free($0) } }
        let code = unsafe posix_spawn(&process, path, &actions, &attributes, strings + [nil], environ)
        if code != 0 { throw Errno(rawValue: code) }
        var status: Int32 = 0
        try SystemCall.retrying { unsafe waitpid(process, &status, 0) }
        let exit = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
        let output = try Self.take(names[1])
        let errors = String(decoding: try Self.take(names[2]), as: UTF8.self)
        _ = unsafe unlink(names[0])
        return Result(status: exit, output: output, errors: errors)
    }

    private static func take(_ path: String) throws(Errno) -> [UInt8] {
        let file = try SystemCall.open(path, O_RDONLY)
        let bytes = try SystemCall.readToEnd(file.rawValue, limit: 1 << 30)
        _ = unsafe unlink(path)
        return bytes
    }
}

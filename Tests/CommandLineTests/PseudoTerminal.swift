import Glibc
import Platform
import SystemPackage
import TestSupport

/// A program at a terminal of its own, which the test sits at.
final class PseudoTerminal {
    /// Output that was read and not expected yet.
    private(set) var screen = ""
    /// TIOCSPTLCK and TIOCGPTN (ioctl_tty(2)); their definitions are too complicated for the importer.
    private static let setLock: UInt = 0x4004_5431
    private static let getNumber: UInt = 0x8004_5430
    /// Whether all of the program's output was read and it is gone.
    private(set) var isEnded = false
    private let master: OwnedDescriptor
    private let process: pid_t
    private var isWaitedFor = false

    /// Starts a program in a new session that has the terminal.
    ///
    /// - Parameters:
    ///   - input: what it reads as standard input; the terminal if there is none.
    ///   - output: a file for standard output; the terminal if there is none.
    init(_ path: String, _ arguments: [String], input: Int32? = nil, output: String? = nil) throws {
        master = try SystemCall.open("/dev/ptmx", O_RDWR | O_NOCTTY)
        let descriptor = master.rawValue
        var locked: Int32 = 0
        try SystemCall.retrying { unsafe ioctl(descriptor, Self.setLock, &locked) }
        var number: UInt32 = 0
        try SystemCall.retrying { unsafe ioctl(descriptor, Self.getNumber, &number) }
        let slave = "/dev/pts/\(number)"
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        // The first terminal that a session's leader opens becomes the session's.
        unsafe posix_spawn_file_actions_addopen(&actions, 2, slave, O_RDWR, 0)
        if let output {
            unsafe posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        } else {
            unsafe posix_spawn_file_actions_adddup2(&actions, 2, 1)
        }
        unsafe posix_spawn_file_actions_adddup2(&actions, input ?? 2, 0)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // Who started the tests may ignore interruptions, and the test's thread may hold signals back.
        var defaults = sigset_t()
        unsafe sigemptyset(&defaults)
        unsafe sigaddset(&defaults, SIGINT)
        unsafe posix_spawnattr_setsigdefault(&attributes, &defaults)
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        // POSIX_SPAWN_SETSID, POSIX_SPAWN_SETSIGDEF, POSIX_SPAWN_SETSIGMASK
        unsafe posix_spawnattr_setflags(&attributes, 0x8C)
        let strings = unsafe ([path] + arguments).map { unsafe strdup($0) }
        defer { unsafe strings.forEach { unsafe free($0) } }
        var process: pid_t = 0
        let code = unsafe posix_spawn(&process, path, &actions, &attributes, strings + [nil], environ)
        if code != 0 { throw Errno(rawValue: code) }
        self.process = process
    }

    deinit {
        if !isWaitedFor {
            kill(process, SIGKILL)
            var status: Int32 = 0
            _ = unsafe waitpid(process, &status, 0)
        }
    }

    /// Types.
    func type(_ text: String) throws {
        try unsafe SystemCall.writeAll(master.rawValue, Array(text.utf8).span.bytes)
    }

    /// Whether the terminal shows what is typed.
    var echoes: Bool {
        get throws {
            var settings = termios()
            let descriptor = master.rawValue
            try SystemCall.retrying { unsafe tcgetattr(descriptor, &settings) }
            return settings.c_lflag & tcflag_t(ECHO) != 0
        }
    }

    /// Whether the text is on the screen, without waiting longer than for what is there already.
    func shows(_ text: String) -> Bool {
        var wanted = pollfd(fd: master.rawValue, events: Int16(POLLIN), revents: 0)
        while !screen.contains(text), unsafe poll(&wanted, 1, 0) > 0, readMore() {}
        return screen.contains(text)
    }

    /// Waits until the text is on the screen; throws if the program ends without it.
    func expect(_ text: String) throws {
        while !screen.contains(text) {
            guard readMore() else { throw Errno.noSuchFileOrDirectory }
        }
    }

    /// Waits for the end; returns the exit code, 128 and the signal's number if one ended it.
    func finish() throws -> Int32 {
        while readMore() {}
        var status: Int32 = 0
        let process = process
        try SystemCall.retrying { unsafe waitpid(process, &status, 0) }
        isWaitedFor = true
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }

    /// False at the end: a terminal that no process has open gives EIO.
    private func readMore() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 4096)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        guard let count = try? SystemCall.read(master.rawValue, into: &raw), count > 0 else {
            isEnded = true
            return false
        }
        screen += String(decoding: bytes.prefix(count), as: UTF8.self)
        return true
    }
}

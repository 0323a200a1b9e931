import CLinux
import Glibc
import Platform
import SystemPackage
import Testing

@testable import Sandbox

/// The escape suite, run inside of sandboxes as strict as the schemes', and with layers left out: each attempt must fail.
@Suite struct EscapeTests {
    /// Each process of a mount, as it is when it serves.
    @Test(arguments: [Manifest.disk, .remoteDisk, .file, .pipe, .display, .plain("small"), .router])
    func nothingEscapesTheWholeSandbox(manifest: Manifest) throws {
        let result = try EscapeRun.inside(strict: true, filter: .start, manifest)
        #expect(result.escaped == [])
        #expect(result.end == .exited(0))
        #expect(result.held.count > 60)
    }

    /// The network scheme reaches a network, and nothing else.
    @Test func onlyTheNetworkIsReachedWithTheNetworkGranted() throws {
        let result = try EscapeRun.inside(strict: true, filter: .start, .network)
        #expect(result.escaped.map { $0.split(separator: " ").first ?? "" } == ["connect-tcp"])
        #expect(result.end == .exited(0))
        #expect(result.held.count > 60)
    }

    @Test func nothingEscapesBeforeTheStrictFilter() throws {
        let result = try EscapeRun.inside(strict: false, filter: .start)
        #expect(result.escaped == [])
        #expect(result.end == .exited(0))
    }

    /// Namespaces, landlock, limits and capabilities hold without any help of seccomp.
    @Test func nothingEscapesWithoutAnyFilter() throws {
        let result = try EscapeRun.inside(strict: false, filter: nil)
        #expect(result.escaped == [])
        #expect(result.end == .exited(0))
    }

    /// The same for a mount of an ordinary user.
    @Test(
        .enabled(
            if: geteuid() == 0 && SystemCall.exists("/usr/bin/setpriv"),
            "only root can become another user, with /usr/bin/setpriv"), arguments: [true, false])
    func nothingEscapesFromAnOrdinaryUsersSandbox(strict: Bool) throws {
        let result = try EscapeRun.asOrdinaryUser(strict: strict)
        #expect(result.escaped == [])
        #expect(result.end == .exited(0))
        #expect(result.held.count > 50)
    }

    /// The suite itself works: outside of a sandbox its attempts succeed.
    @Test func theSuiteEscapesWithoutSandbox() throws {
        let result = try EscapeRun.outside()
        for name in EscapeRun.harmless {
            #expect(result.escaped.contains { $0.hasPrefix(name + " ") }, "\(name) should have succeeded")
        }
    }
}

/// One run of the suite with something outside to reach for.
struct EscapeRun {
    var held: [String] = []
    var escaped: [String] = []
    var end: ProcessEnd

    /// Attempts that may succeed: made by the control, which runs without sandbox.
    static let harmless = [
        "open-host-file", "open-passwd", "connect-tcp", "connect-abstract", "kill", "shared-segment",
    ]

    static func inside(
        strict: Bool, filter: SeccompProgram?,
        _ granted: Manifest = Manifest(name: "escape-suite", systemCalls: [.base, .channels, .storage])
    ) throws -> EscapeRun {
        // Smaller limits than the real ones: reaching them must not cost the machine gigabytes.
        var manifest = granted
        manifest.limits.memoryBytes = 256 << 20
        manifest.limits.addressSpaceBytes = 512 << 20
        manifest.limits.fileBytes = 16 << 20
        let sandbox = try Sandbox(manifest, executablePath: try TestProgram.path("escape-suite"), index: 900)
        let outside = try Outside()
        return try collect(outside, strict: strict) { environment, descriptors in
            try sandbox.run(environment: environment, descriptors: descriptors, filter: filter)
        }
    }

    static func asOrdinaryUser(strict: Bool) throws -> EscapeRun {
        let setpriv = try SystemCall.openPath("/usr/bin/setpriv")
        let program = try TestProgram.path("escape-suite")
        return try collect(Outside(), strict: strict) { environment, descriptors in
            let plan = ProcessPlan(
                executable: setpriv.rawValue,
                arguments: ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", program],
                environment: environment + ["SWIFT_BACKTRACE=enable=no", "ESCAPE_RUNNER=\(program)"],
                descriptors: descriptors)
            return try plan.run()
        }
    }

    static func outside() throws -> EscapeRun {
        let program = try SystemCall.openPath(try TestProgram.path("escape-suite"))
        let outside = try Outside()
        return try collect(outside, strict: false) { environment, descriptors in
            var plan = ProcessPlan(
                executable: program.rawValue, arguments: ["escape-suite"],
                environment: environment + [
                    "SWIFT_BACKTRACE=enable=no", "ESCAPE_ONLY=\(harmless.joined(separator: ","))",
                ], descriptors: descriptors)
            plan.newSession = true
            plan.diesWithParent = true
            return try plan.run()
        }
    }

    private static func collect(
        _ outside: Outside, strict: Bool, _ start: ([String], [Int32]) throws -> ChildProcess
    ) throws -> EscapeRun {
        let null = try SystemCall.open("/dev/null", O_RDWR)
        let memory = try SharedMemory.create(name: "request", byteCount: 4096)
        let mapping = try SharedMapping(memory.rawValue, byteCount: 4096, writable: true)
        try SharedMemory.addSeals(memory.rawValue, [.futureWrite, .seal])
        let mine: SharedDescriptor
        let process: ChildProcess
        let environment = [
            "ESCAPE_FILTER=\(strict ? "strict" : "none")", "ESCAPE_VICTIM=\(getpid())",
            "ESCAPE_ADDRESS=\(outside.secretAddress)", "ESCAPE_PORT=\(outside.port)",
            "ESCAPE_SOCKET=\(outside.socketName)", "ESCAPE_PATH=\(outside.path)", "ESCAPE_SHM=\(outside.shmKey)",
        ]
        do {
            // The writing end is the process's alone once this scope ends.
            let pipe = try SystemCall.pipe()
            mine = pipe.reading
            process = try start(environment, [null.rawValue, pipe.writing.rawValue, 2, memory.rawValue])
        }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try SystemCall.retrying { unsafe read(mine.rawValue, &buffer, buffer.count) }
            if count == 0 { break }
            output += buffer[..<count]
            if String(decoding: output, as: UTF8.self).hasSuffix("end\n") { break }
        }
        let end = try process.waitForEnd()
        #expect(mapping.load32(0) == 0, "the request memory was written")
        var result = EscapeRun(end: end)
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("held ") { result.held.append(String(line.dropFirst(5))) }
            if line.hasPrefix("ESCAPED ") { result.escaped.append(String(line.dropFirst(8))) }
        }
        return result
    }
}

/// What the suite may try to reach: a listening port and socket, a file, a memory segment, a word in memory.
@safe final class Outside {
    let port: UInt16
    let socketName = "saltbridge-escape-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    let path: String
    let shmKey = Int32.random(in: 1 ... .max)
    let secretAddress: UInt
    private let listeners: [Int32]
    private let segment: Int32
    private let secret: UnsafeMutablePointer<UInt64>

    init() throws {
        unsafe secret = .allocate(capacity: 1)
        unsafe secret.initialize(to: 0x5EC2E7)
        secretAddress = unsafe UInt(bitPattern: secret)
        path = "/tmp/saltbridge-escape-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let file = try SystemCall.open(path, O_CREAT | O_RDWR, mode: 0o666)
        _ = fchmod(file.rawValue, 0o666)
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let tcp = socket(AF_INET, type, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                _ = unsafe bind(tcp, raw, length)
                _ = listen(tcp, 8)
                _ = unsafe getsockname(tcp, raw, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        let unix = socket(AF_UNIX, type, 0)
        let bytes: [UInt8] = [1, 0, 0] + Array(socketName.utf8)
        unsafe bytes.withUnsafeBytes { raw in
            if let start = raw.baseAddress {
                _ = unsafe bind(unix, start.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
            }
        }
        _ = listen(unix, 8)
        listeners = [tcp, unix]
        segment = shmget(shmKey, 4096, Int32(IPC_CREAT) | 0o666)
    }

    deinit {
        for listener in listeners { close(listener) }
        _ = unsafe unlink(path)
        _ = shmctl(segment, IPC_RMID, nil)
        unsafe secret.deallocate()
    }
}

/// Programs that lie beside the test bundle.
enum TestProgram {
    static func path(_ name: String) throws -> String {
        let own = try SystemCall.readLink("/proc/self/exe")
        let directory = own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return "\(directory)/\(name)"
    }
}

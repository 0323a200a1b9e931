import Glibc
import Platform
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import TestSupport
import Testing

/// The files of this checkout.
enum Checkout {
    static let folder = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
    static let examples = folder.appending("Scripts/examples")

    static func text(_ path: String) throws -> String { try SystemCallText.read(folder.appending(path).string) }
}

/// Whole files as text.
enum SystemCallText {
    static func read(_ path: String) throws -> String {
        let file = try SystemCall.open(path, O_RDONLY)
        return String(decoding: try SystemCall.readToEnd(file.rawValue, limit: 1 << 24), as: UTF8.self)
    }
}

/// Programs of the host that the examples need.
enum HostProgram {
    static let compiler = ["/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang"].first { SystemCall.exists($0) }
    static let python = ["/usr/bin/python3"].first { SystemCall.exists($0) }
}

/// The counter in one of its languages.
enum ExampleScheme: String, CaseIterable, CustomTestStringConvertible {
    case swift, c, python

    var testDescription: String { rawValue }

    /// Those that can be run here; what is missing is said once.
    static let runnable: [ExampleScheme] = allCases.filter { example in
        let isThere =
            switch example {
            case .swift: true
            case .c: HostProgram.compiler != nil
            case .python: HostProgram.python != nil
            }
        if !isThere { print("the example in \(example.rawValue) is left out: there is no program to run it") }
        return isThere
    }

    /// Compiles the C example into the folder; returns its path.
    static func compile(into folder: TemporaryDirectory) throws -> String {
        let compiler = BuiltProgram(path: try #require(HostProgram.compiler))
        let target = folder.file("scheme-ccounter")
        let result = try compiler.run(
            [
                "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", target,
                Checkout.examples.appending("c/counter.c").string,
            ], in: folder)
        guard result.status == 0 else { throw PeerError.wrong(result.errors) }
        return target
    }

    /// Starts a process of it. The memory that it has kept comes back with the first message that it sends.
    func start(
        _ folder: TemporaryDirectory, incarnation: UInt32 = 1, state: SharedDescriptor? = nil
    ) throws -> (peer: PeerProcess, state: SharedDescriptor) {
        let first = ControlMessage(
            .configure, number: UInt64(incarnation), fields: [.init("scheme", "counter")])
        let kept = state.map { [(name: "state", descriptor: $0.rawValue)] } ?? []
        let peer: PeerProcess
        switch self {
        case .swift: peer = try PeerProcess(program: "scheme-counter", first, descriptors: kept)
        case .c:
            let path = folder.file("scheme-ccounter")
            if !SystemCall.exists(path) { _ = try Self.compile(into: folder) }
            peer = try PeerProcess(
                try SystemCall.openPath(path), name: "ccounter", arguments: [], first, descriptors: kept)
        case .python:
            peer = try PeerProcess(
                try SystemCall.openPath(try #require(HostProgram.python)), name: "python3",
                arguments: ["-B", "-E", "-s", "-S", Checkout.examples.appending("python/counter.py").string], first,
                descriptors: kept)
        }
        var held = state
        while true {
            guard let received = try peer.control.receive() else { continue }
            switch received.message.kind {
            case .hold: held = received.descriptor("state")
            case .started: return (peer, try #require(held))
            case .failed: throw PeerError.failed(received.message["message"] ?? "")
            default: continue
            }
        }
    }
}

import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// A `scheme-peer` process with the test as its supervisor.
public final class PeerProcess: Sendable {
    /// The test's end of the control socket.
    public let control: ControlSocket
    private let child: Locked<ChildProcess?>

    /// A program beside the running test.
    public static func program(_ name: String = "scheme-peer") throws -> OwnedDescriptor {
        let test = try SystemCall.readLink("/proc/self/exe")
        let folder = test.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return try SystemCall.openPath("\(folder)/\(name)")
    }

    /// Starts a peer, or another program that expects a control socket; `first` is sent at once, with descriptors.
    public convenience init(
        program name: String = "scheme-peer", arguments: [String] = [], _ first: ControlMessage,
        descriptors: [(name: String, descriptor: Int32)] = []
    ) throws {
        try self.init(Self.program(name), name: name, arguments: arguments, first, descriptors: descriptors)
    }

    /// Starts any program.
    public init(
        _ program: consuming OwnedDescriptor, name: String, arguments: [String], _ first: ControlMessage,
        descriptors: [(name: String, descriptor: Int32)]
    ) throws {
        let (ours, theirs) = try ControlSocket.pair()
        let plan = ProcessPlan(
            executable: program.rawValue, arguments: [name] + arguments,
            environment: ["SALTBRIDGE_CONTROL=3", "SALTBRIDGE_SYSTEM_CALLS=base,channels,storage"],
            descriptors: [0, 1, 2, theirs.descriptor.rawValue])
        control = ours
        child = Locked(try plan.run())
        try ours.send(first, descriptors: descriptors)
    }

    deinit { kill() }

    /// Kills the process and waits for its end.
    public func kill() {
        child.withLock { child in
            if let running = child.take() {
                try? running.send(signal: SIGKILL)
                _ = try? running.waitForEnd()
            }
        }
    }

    /// Sends it another signal.
    public func send(signal: Int32) {
        child.withLock { child in
            switch child {
            case .some(let running): try? running.send(signal: signal)
            case .none: break
            }
        }
    }

    /// Whether it has ended; it is reaped then.
    public var hasEnded: Bool {
        child.withLock { child in
            switch child {
            case .none: return true
            case .some(let running):
                if case .ended? = try? running.nextChange() { return true }
                return false
            }
        }
    }

    /// Receives messages until one is of this kind.
    public func wait(for kind: ControlKind) throws -> ReceivedControl {
        while true {
            guard let received = try control.receive() else { continue }
            if received.message.kind == kind { return received }
            if received.message.kind == .failed { throw PeerError.failed(received.message["message"] ?? "") }
        }
    }

    /// Introduces a channel to the peer.
    public func attach(
        _ number: UInt32 = 1, geometry: ChannelGeometry, request: SharedDescriptor, reply: SharedDescriptor,
        epoch: UInt32 = 0
    ) throws {
        try control.send(
            ControlMessage(.attach, id: 7, channel: number, number: UInt64(epoch), geometry: geometry),
            descriptors: [("request", request.rawValue), ("reply", reply.rawValue)])
        _ = try wait(for: .done)
    }
}

/// A peer that didn't do what it should.
public enum PeerError: Error {
    /// It reported a failure.
    case failed(String)
    /// An answer is wrong.
    case wrong(String)
}

/// SplitMix64, seeded; the seed is printed by who uses it.
public struct TestGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator.
    public init(seed: UInt64) { state = seed }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

/// A seed for a test: from SALTBRIDGE_SEED, or random; printed.
public func testSeed(_ test: String) -> UInt64 {
    let seed: UInt64
    if let text = unsafe getenv("SALTBRIDGE_SEED"), let given = unsafe UInt64(String(cString: text)) {
        seed = given
    } else {
        seed = UInt64.random(in: 0..<1 << 32)
    }
    print("\(test): SALTBRIDGE_SEED=\(seed)")
    return seed
}

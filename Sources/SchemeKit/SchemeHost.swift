import Platform
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// What a scheme may ask of the process it runs in. Any thread.
public final class SchemeHost: Sendable {
    private let dispatcher = Locked<Dispatcher?>(nil)
    private let channels = Locked<[ChannelServer]>([])
    private let heldHandler = Locked<(@Sendable (HeldAnswer) -> Void)?>(nil)
    let control: ControlSocket?

    let points: CrashPoints?

    init(control: ControlSocket?, points: CrashPoints? = nil) {
        self.control = control
        self.points = points
    }

    /// Says that the process has come to a point at which it may have been told to end itself.
    public func reached(_ point: CrashPoint) { points?.reached(point) }

    /// Has calls that wait on a node tried again, and its readiness told to who polls.
    public func wake(_ node: UInt64) { dispatcher.withLock { $0 }?.wake(node) }

    /// Reports everything up to a sequence number as durable: clients forget those requests. Call `waitUntilPosted` before the
    /// commit that covers them.
    public func reportCommitted(_ sequence: UInt64) {
        for channel in channels.withLock({ $0 }) { channel.reportCommitted(sequence) }
    }

    /// Waits until the completions of all changes up to a number are posted. To be called by a commit of its own accord (a timer,
    /// a full log) before it makes them durable, without any lock that a call needs to be answered.
    public func waitUntilPosted(_ sequence: UInt64) { dispatcher.withLock { $0 }?.order.wait(for: sequence) }

    /// Tells clients that cached data of a node is no longer right.
    public func invalidate(_ node: UInt64, from offset: UInt64 = 0) {
        for channel in channels.withLock({ $0 }) {
            channel.post(EventEntry(.invalidateData, node: node, value: offset))
        }
    }

    /// Tells clients that cached entries of a directory are no longer right.
    public func invalidateDirectory(_ node: UInt64) {
        for channel in channels.withLock({ $0 }) { channel.post(EventEntry(.invalidateDirectory, node: node)) }
    }

    /// Writes a line to the supervisor's log. Doesn't wait: a line that there is no room for is lost.
    public func log(_ message: String) {
        try? control?.send(ControlMessage(.log, fields: [.init("message", message)]), wait: false)
    }

    /// Has the supervisor keep a descriptor for the next incarnation under a name; it then comes with the start.
    public func hold(_ name: String, _ descriptor: Int32) throws(ChannelError) {
        try control?.send(ControlMessage(.hold), descriptors: [(name, descriptor)])
    }

    /// Has the supervisor let go of a descriptor that it holds.
    public func release(_ name: String) {
        // Only a supervisor that is gone can't be told.
        try? control?.send(ControlMessage(.hold, fields: [.init("drop", name)]))
    }

    /// Has the supervisor take the next caller of a listening socket that it holds, and hold it under a name. What came of it
    /// is told by `onHeld`.
    public func accept(from listener: String, as name: String) throws(ChannelError) {
        try control?.send(
            ControlMessage(.accept, fields: [.init("listener", listener), .init("name", name)]))
    }

    /// Called on the control loop's thread with the answers to `accept`.
    public func onHeld(_ body: @escaping @Sendable (HeldAnswer) -> Void) { heldHandler.withLock { $0 = body } }

    func held(_ received: ReceivedControl) {
        let name = received.message.descriptorNames.first
        let errno = Int32(truncatingIfNeeded: received.message.number)
        heldHandler.withLock { $0 }?(
            HeldAnswer(
                listener: received.message["listener"] ?? "", name: name ?? received.message["name"] ?? "",
                descriptor: name.flatMap { received.descriptor($0) }, errno: Errno(rawValue: errno)))
    }

    /// Whether a request that a scheme was given in this life or an earlier one still waits for its answer: an earlier one's comes
    /// again. Only right when the channel's client has taken what the last incarnation had posted: in `adopt`,
    /// `replayFinished` and later, of requests of earlier incarnations.
    public func isOutstanding(_ requestID: UInt64, channel: UInt32) -> Bool {
        channels.withLock { $0 }.first { $0.number == channel }?.isOutstanding(requestID) ?? false
    }

    /// Whether a client's channel is there: after a death they come back one by one.
    public func isAttached(_ channel: UInt32) -> Bool { channels.withLock { $0 }.contains { $0.number == channel } }

    func set(_ dispatcher: Dispatcher) { self.dispatcher.withLock { $0 = dispatcher } }

    func add(_ channel: ChannelServer) { channels.withLock { $0.append(channel) } }

    func remove(_ channel: ChannelServer) { channels.withLock { $0.removeAll { $0 === channel } } }

    func allChannels() -> [ChannelServer] { channels.withLock { $0 } }
}

/// What came of `SchemeHost.accept`.
public struct HeldAnswer: Sendable {
    /// The listening socket's name.
    public let listener: String
    /// The name under which the caller is held, or would have been.
    public let name: String
    /// The caller's socket.
    public let descriptor: SharedDescriptor?
    /// Why there is no caller: EAGAIN if none has come.
    public let errno: Errno
}

/// How a scheme is started: what the supervisor told it.
public struct SchemeStart: Sendable {
    /// Which start of the scheme this is, from 1.
    public let incarnation: UInt32
    /// What the scheme may ask of its process.
    public let host: SchemeHost
    /// Introductions to other schemes.
    public let connector: SchemeConnector
    private let received: ReceivedControl
    private let held: [ReceivedControl]

    init(_ received: ReceivedControl, held: [ReceivedControl] = [], host: SchemeHost, connector: SchemeConnector) {
        self.received = received
        self.held = held
        self.host = host
        self.connector = connector
        incarnation = UInt32(truncatingIfNeeded: received.message.number)
    }

    /// The name under which the scheme is served.
    public var name: String { received.message["scheme"] ?? "" }

    /// A setting; nil if it isn't there.
    public func setting(_ key: String) -> String? { received.message[key] }

    /// A setting that must be there.
    public func requiredSetting(_ key: String) throws(SchemeStartError) -> String {
        guard let value = received.message[key] else { throw .missingSetting(key) }
        return value
    }

    /// All settings.
    public var settings: [ControlMessage.Field] { received.message.fields }

    /// An inherited descriptor; nil if it isn't there.
    public func descriptor(_ name: String) -> SharedDescriptor? {
        if let found = received.descriptor(name) { return found }
        for message in held { if let found = message.descriptor(name) { return found } }
        return nil
    }

    /// The names of all inherited descriptors.
    public var descriptorNames: [String] {
        received.message.descriptorNames + held.flatMap(\.message.descriptorNames)
    }

    /// An inherited descriptor as the caller's own: a second number for the same open file.
    public func ownedDescriptor(_ name: String) throws(SchemeStartError) -> OwnedDescriptor {
        let inherited = try requiredDescriptor(name)
        do throws(Errno) {
            return try SystemCall.duplicate(inherited.rawValue)
        } catch {
            throw .failed(error, "descriptor \(name)")
        }
    }

    /// An inherited descriptor that must be there.
    public func requiredDescriptor(_ name: String) throws(SchemeStartError) -> SharedDescriptor {
        guard let descriptor = descriptor(name) else { throw .missingDescriptor(name) }
        return descriptor
    }
}

/// Why a scheme can't start.
public enum SchemeStartError: Error, Sendable {
    /// The environment doesn't name a control socket: the program was started by hand, not by the supervisor.
    case noControlSocket
    /// The first message wasn't the configuration.
    case noConfiguration
    /// A setting isn't there.
    case missingSetting(String)
    /// A setting makes no sense.
    case badSetting(String, value: String)
    /// A descriptor isn't there.
    case missingDescriptor(String)
    /// A channel or the control socket failed.
    case channel(ChannelError)
    /// What the scheme serves can't be opened; the text says what.
    case failed(Errno, String)

    /// The errno that is reported.
    public var errno: Errno {
        switch self {
        case .noControlSocket, .noConfiguration, .missingSetting, .badSetting, .missingDescriptor: .invalidArgument
        case .channel(let error): error.errno
        case .failed(let errno, _): errno
        }
    }
}

extension SchemeStartError: CustomStringConvertible {
    /// What went wrong, in words.
    public var description: String {
        switch self {
        case .noControlSocket: "it was started by hand: only the supervisor starts it"
        case .noConfiguration: "the first message was no configuration"
        case .missingSetting(let name): "the setting \(name) is missing"
        case .badSetting(let name, let value): "the setting \(name) can't be \(value)"
        case .missingDescriptor(let name): "the descriptor \(name) is missing"
        case .channel(let error): "\(error)"
        case .failed(let errno, let text): errno == .invalidArgument ? text : "\(text): \(errno)"
        }
    }
}

/// Memory that outlives the process: the supervisor holds it and gives it to the next incarnation.
///
/// For schemes without a durable state of their own (a pipe's contents). A process can die between any two stores, so what is
/// in it must make sense at every instant: write data first, then the word that makes it count.
public final class SchemeState: Sendable {
    /// The memory.
    public let memory: SharedMapping
    /// Whether an earlier incarnation has used it; if not, it is all zeros.
    public let isInherited: Bool

    /// Gets the memory that the last incarnation left, or makes it and has the supervisor hold it.
    public init(_ start: SchemeStart, name: String = "state", byteCount: Int) throws(SchemeStartError) {
        do {
            if let inherited = start.descriptor(name) {
                try SharedMemory.verify(inherited.rawValue, byteCount: byteCount)
                memory = try SharedMapping(inherited.rawValue, byteCount: byteCount, writable: true)
                isInherited = true
            } else {
                let descriptor = try SharedMemory.create(name: "scheme-state", byteCount: byteCount)
                memory = try SharedMapping(descriptor.rawValue, byteCount: byteCount, writable: true)
                isInherited = false
                try start.host.hold(name, descriptor.rawValue)
            }
        } catch let error as ChannelError {
            throw .channel(error)
        } catch let error as Errno {
            throw .failed(error, "state memory \(name)")
        } catch {
            throw .failed(.ioError, "state memory \(name)")
        }
    }

    /// Memory for tests, held by nobody.
    public init(byteCount: Int) throws(Errno) {
        let descriptor = try SharedMemory.create(name: "scheme-state", byteCount: byteCount)
        memory = try SharedMapping(descriptor.rawValue, byteCount: byteCount, writable: true)
        isInherited = false
    }
}

import Platform
import SchemeProtocol
import Synchronization
import SystemPackage

/// A control message with the descriptors that came beside it.
public struct ReceivedControl: Sendable {
    /// The message, checked in form.
    public let message: ControlMessage
    /// The descriptors, in the order of their names.
    public let descriptors: [SharedDescriptor]

    /// The descriptor of that name.
    public func descriptor(_ name: String) -> SharedDescriptor? {
        guard let index = message.descriptorNames.firstIndex(of: name), index < descriptors.count else { return nil }
        return descriptors[index]
    }

    /// A message that this process made itself.
    public init(_ message: ControlMessage, descriptors: [SharedDescriptor] = []) {
        self.message = message
        self.descriptors = descriptors
    }
}

/// One end of a control socket. Any thread may send; one receives.
public final class ControlSocket: Sendable {
    /// The socket: for poll.
    public let descriptor: SharedDescriptor
    private let lastID = Atomic<UInt32>(0)

    /// Takes over a connected SOCK_SEQPACKET socket.
    public init(_ descriptor: SharedDescriptor) { self.descriptor = descriptor }

    /// Two ends.
    public static func pair() throws(ChannelError) -> (ControlSocket, ControlSocket) {
        let pair = try system("socketpair") { () throws(Errno) in try SystemCall.socketPair() }
        return (ControlSocket(pair.0), ControlSocket(pair.1))
    }

    /// A number for a message that wants an answer; never 0.
    public func newID() -> UInt32 {
        let id = lastID.add(1, ordering: .relaxed).newValue
        return id == 0 ? newID() : id
    }

    /// Sends a message; descriptors come with names, in order.
    ///
    /// - Parameter wait: false to fail with EAGAIN rather than wait for a peer that doesn't read.
    public func send(
        _ message: ControlMessage, descriptors: [(name: String, descriptor: Int32)] = [], wait: Bool = true
    ) throws(ChannelError) {
        var message = message
        message.descriptorNames = descriptors.map(\.name)
        try transmit(Self.encode(message), descriptors.map(\.descriptor), wait)
    }

    private static func encode(_ message: ControlMessage) throws(ChannelError) -> [UInt8] {
        do { return try message.encoded() } catch { throw .message("\(error)") }
    }

    private func transmit(_ bytes: [UInt8], _ descriptors: [Int32], _ wait: Bool) throws(ChannelError) {
        do throws(Errno) {
            let span = bytes.span
            let raw = unsafe span.bytes
            try SystemCall.send(descriptor.rawValue, raw, descriptors: descriptors, wait: wait)
        } catch .brokenPipe {
            throw .disconnected
        } catch .connectionReset {
            throw .disconnected
        } catch {
            throw .system(error, call: "sendmsg")
        }
    }

    /// Receives the next message; nil if `wait` is false and there is none. Throws `disconnected` when the peer is gone, and
    /// `message` for what is no message (the next one can still be received).
    public func receive(wait: Bool = true) throws(ChannelError) -> ReceivedControl? {
        var buffer = [UInt8](repeating: 0, count: ProtocolLimits.maximumControlBytes)
        var span = buffer.mutableSpan
        var raw = unsafe span.mutableBytes
        let received: (byteCount: Int, descriptors: [SharedDescriptor])
        do throws(Errno) {
            received = try SystemCall.receive(descriptor.rawValue, into: &raw, wait: wait)
        } catch .resourceTemporarilyUnavailable {
            return nil
        } catch .connectionReset {
            throw .disconnected
        } catch .messageTooLong {
            throw .message("too long")
        } catch {
            throw .system(error, call: "recvmsg")
        }
        guard received.byteCount > 0 else { throw .disconnected }
        do {
            let span = buffer.span
            let message = try ControlMessage(decoding: unsafe span.bytes.extracting(first: received.byteCount))
            guard message.descriptorNames.count == received.descriptors.count else {
                throw ChannelError.message("\(received.descriptors.count) descriptors came, not as many as named")
            }
            return ReceivedControl(message, descriptors: received.descriptors)
        } catch let error as ChannelError {
            throw error
        } catch {
            throw .message("\(error)")
        }
    }
}

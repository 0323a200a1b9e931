import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTransport

/// A client that is there to be killed: submits order-dependent writes as fast as it can, and takes and releases the completions.
///
/// It makes the channel, or adopts that of its dead predecessor, and hands the descriptors to the test, which introduces the server.
enum ClientPeer {
    static func run() {
        do {
            let socket = ControlSocket(SharedDescriptor(adopting: 3))
            guard let first = try socket.receive() else { exit(2) }
            let channel = try attach(first)
            try socket.send(
                ControlMessage(.connect, geometry: .small),
                descriptors: [
                    ("request", channel.requestDescriptor.rawValue), ("reply", channel.replyDescriptor.rawValue),
                ])
            // What the predecessor left: answers that were recorded and not yet taken note of.
            channel.records { record in
                if record.state == .completed { channel.release(tag: record.tag) }
            }
            var generator = Noise(first.message.number)
            while true {
                submit(channel, &generator)
                channel.drain { channel.release($0) }
                if channel.logPressure > 0.4, let slot = channel.reserve(important: true) {
                    channel.submit(slot, SubmissionEntry(.commit))
                    channel.waitAndDrain(nanoseconds: 1_000_000) { channel.release($0) }
                }
            }
        } catch {
            print("client: \(error)")
            exit(3)
        }
    }

    private static func attach(_ first: ReceivedControl) throws -> ChannelClient {
        if let request = first.descriptor("request"), let reply = first.descriptor("reply") {
            return try ChannelClient(adopting: request, reply: reply, geometry: .small, name: "peer")
        }
        return try ChannelClient(.small, name: "peer")
    }

    private static func submit(_ channel: ChannelClient, _ generator: inout Noise) {
        let count = generator.next() % 8 == 0 ? 5000 : 16
        guard let slot = channel.reserve(payloadBytes: count) else {
            channel.waitAndDrain(nanoseconds: 1_000_000) { channel.release($0) }
            return
        }
        var payload = channel.payload(slot)
        for index in stride(from: 0, to: count - 7, by: 8) {
            payload.storeBytes(of: generator.next(), toByteOffset: index, as: UInt64.self)
        }
        channel.submit(
            slot, SubmissionEntry(.write, node: 1, offset: generator.next() % 64), payload: 0..<count,
            cookie: generator.next())
    }
}

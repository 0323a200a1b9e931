// A scheme server for tests of the supervisor. Its setting `behaviour` says how it misbehaves:
//   serve           not at all
//   exit-at-start   exits with status 3 before it is up
//   refuse          says that it can't start
//   never-ready     does nothing
//   unfiltered      says that it is up without its strict filter
//   die-soon        exits with status 4 soon after it is up
//   ignore-finish   doesn't end when told
//   sleepy          doesn't read its messages
//   accept-nobody   wants a caller of a socket that isn't held
//   hostile         fills its reply memories with noise, forever
// It keeps a descriptor named "diary" from incarnation to incarnation, and answers `get` with what it was given.
import Glibc
import Platform
import Sandbox
import SchemeProtocol
import SchemeTransport

@main
enum FakeScheme {
    static func main() {
        guard let text = unsafe getenv("SALTBRIDGE_CONTROL"), let number = unsafe Int32(String(cString: text)) else {
            exit(78)
        }
        let socket = ControlSocket(SharedDescriptor(adopting: number))
        do {
            guard let first = try socket.receive(), first.message.kind == .configure else { exit(78) }
            try run(socket, first)
        } catch {
            exit(5)
        }
    }

    private static func run(_ socket: ControlSocket, _ configuration: ReceivedControl) throws {
        let behaviour = configuration.message["behaviour"] ?? "serve"
        switch behaviour {
        case "exit-at-start": exit(3)
        case "refuse":
            try socket.send(ControlMessage(.failed, number: 5, fields: [.init("message", "the test wants it so")]))
            exit(1)
        case "never-ready": while true { pause() }
        case "unfiltered": break
        default: try StrictMode.enter()
        }
        var channels: [UInt32: ChannelServer] = [:]
        try socket.send(ControlMessage(.started))
        if behaviour == "die-soon" {
            usleep(30_000)
            exit(4)
        }
        var acceptCode: UInt64?
        if behaviour == "accept-nobody" {
            try socket.send(
                ControlMessage(.accept, fields: [.init("listener", "nobody"), .init("name", "caller")]))
        }
        if behaviour == "sleepy" { while true { pause() } }
        while true {
            guard let received = try socket.receive() else { continue }
            let message = received.message
            var answer = ControlMessage(.done, id: message.id, channel: message.channel)
            switch message.kind {
            case .get:
                answer.fields = configuration.message.fields
                answer.fields.append(.init("incarnation", "\(configuration.message.number)"))
                if let acceptCode { answer.fields.append(.init("accepted", "\(acceptCode)")) }
                answer.fields.append(
                    .init("descriptors", configuration.message.descriptorNames.sorted().joined(separator: ",")))
            case .held: acceptCode = message.number
            case .set:
                switch message["crash"] {
                case "exit"?: exit(6)
                case "hold"?:
                    let memory = try SharedMemory.create(name: "diary", byteCount: 4096)
                    try socket.send(ControlMessage(.hold), descriptors: [("diary", memory.rawValue)])
                default: break
                }
            case .attach:
                if let geometry = message.geometry, let request = received.descriptor("request"),
                    let reply = received.descriptor("reply")
                {
                    channels[message.channel] = try ChannelServer(
                        number: message.channel, geometry: geometry, request: request, reply: reply,
                        incarnation: UInt32(configuration.message.number), serverBell: nil, clientBell: nil)
                    if behaviour == "hostile" { try spoil(reply, geometry, seed: configuration.message.number) }
                }
            case .finish:
                if behaviour == "ignore-finish" { continue }
                try socket.send(answer)
                exit(0)
            default: break
            }
            if message.id != 0 { try socket.send(answer) }
        }
    }

    /// Noise everywhere, and now and then what nearly makes sense: completions of requests that there may be.
    private static func spoil(_ reply: SharedDescriptor, _ geometry: ChannelGeometry, seed: UInt64) throws {
        let layout = ChannelLayout(geometry)
        let memory = try SharedMapping(reply.rawValue, byteCount: layout.replyMemoryBytes, writable: true)
        _ = try spawnThread(name: "noise") {
            var state = seed &* 0x9e37_79b9_7f4a_7c15
            func next() -> UInt64 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return state ^ state >> 29
            }
            while true {
                let tag = Int(next() % UInt64(geometry.recordCount))
                let record = layout.replyRecords + tag * ProtocolLimits.replyRecordBytes
                switch next() % 8 {
                case 0:
                    let tail = memory.load32(ChannelLayout.completionTailOffset)
                    memory.store32Releasing(ChannelLayout.completionTailOffset, tail &+ UInt32(next() % 4))
                    memory.futexWake(ChannelLayout.completionTailOffset, count: 100)
                case 1: memory.store32(layout.completionRing + 4 * tag, UInt32(next() % UInt64(geometry.recordCount)))
                case 2:
                    for word in 0..<8 { memory.store64(record + 8 * word, next()) }
                    memory.store32(record, UInt32(tag))
                    memory.store32(record + 4, UInt32(next() % 8))
                    if next() % 2 == 0 { memory.store64(record + 8, next() % 4096) }
                case 3: memory.store32(ChannelLayout.eventTailOffset, UInt32(truncatingIfNeeded: next()))
                case 4: memory.store64(ChannelLayout.committedSequenceOffset, next())
                case 5: memory.store64(Int(next() % UInt64(layout.replyArea / 8)) * 8, next())
                case 6: memory.store64(layout.replyArea + Int(next() % UInt64(geometry.replyBytes / 8)) * 8, next())
                default: memory.store32(ChannelLayout.serverStateOffset, UInt32(next() % 3))
                }
            }
        }
    }
}

import Platform
import SystemPackage

/// The two pipes of a connection, held by the supervisor beside its socket.
struct ViewerPipes: Sendable {
    let incoming: (reading: SharedDescriptor, writing: SharedDescriptor)
    let outgoing: (reading: SharedDescriptor, writing: SharedDescriptor)

    init() throws(Errno) {
        incoming = try SystemCall.unblockedPipe()
        outgoing = try SystemCall.unblockedPipe()
    }

    /// From descriptors in the order of `descriptors`; nil if there aren't four.
    init?(_ descriptors: [SharedDescriptor]) {
        guard descriptors.count == Self.count else { return nil }
        incoming = (descriptors[0], descriptors[1])
        outgoing = (descriptors[2], descriptors[3])
    }

    static let count = 4
    var descriptors: [SharedDescriptor] { [incoming.reading, incoming.writing, outgoing.reading, outgoing.writing] }
}

/// One viewer's connection: its socket and what is said over it. It goes on in the next incarnation at the very byte, whenever this one
/// dies: every step either leaves no trace, or can be seen from the memory and from what is in the pipes (`ViewerMemory`).
final class ViewerLink {
    let slot: Int
    let serial: UInt64
    let socket: SharedDescriptor
    private let pipes: ViewerPipes
    private let memory: ViewerMemory
    private let password: [UInt8]?
    private var state: ViewerState
    private var isSent = false
    /// Whether something may have come.
    var mayReceive = true
    /// How many steps may still be done: tests let a process die at each of them.
    var stepsLeft = Int.max
    /// So often may servers die over the same message: as often as over a request of a channel when somebody kills them.
    var attemptLimit: UInt32 = 16

    /// Steps until others have their turn.
    private static let budget = 64

    /// A connection that begins at a free place; nil if there is no room for it.
    init?(
        beginning serial: UInt64, isWeb: Bool, at slot: Int, _ socket: SharedDescriptor, _ pipes: ViewerPipes,
        _ memory: ViewerMemory, password: [UInt8]?
    ) {
        var conversation = ViewerConversation(viewer: serial, isWeb: isWeb, hasPassword: password != nil)
        let greeting = conversation.output
        conversation.output = []
        state = ViewerState(conversation)
        state.output = 1
        state.outputCount = greeting.count
        guard memory.setOutput(slot, greeting), memory.begin(slot, serial, isWeb: isWeb, state) else { return nil }
        self.slot = slot
        self.serial = serial
        self.socket = socket
        self.pipes = pipes
        self.memory = memory
        self.password = password
    }

    /// A connection of an earlier incarnation; nil if its state makes no sense.
    init?(
        resuming slot: Int, _ socket: SharedDescriptor, _ pipes: ViewerPipes, _ memory: ViewerMemory, password: [UInt8]?
    ) {
        guard let state = memory.state(slot) else { return nil }
        self.state = state
        self.slot = slot
        serial = memory.serial(slot)
        self.socket = socket
        self.pipes = pipes
        self.memory = memory
        self.password = password
    }

    var display: Int { state.conversation.display }

    /// Why it ended; empty: as it should.
    var ending: String { state.conversation.ending ?? "" }

    /// Whether the viewer is past the handshake.
    var isServing: Bool { state.conversation.isServing }

    /// Whether it ends because the viewer doesn't know the password.
    var isRejected: Bool { state.conversation.isRejected }

    /// Has it end for a reason of the server's.
    func end(_ reason: String) { state.conversation.end(reason) }

    func note(_ damage: DamageList) { state.conversation.note(damage) }

    /// Goes on as far as it can. Returns what to wait for; nil: the connection has ended.
    func pump(_ scheme: DisplayScheme, _ encoder: RectangleEncoder) -> Platform.PollEvents? {
        do throws(Errno) {
            for _ in 0..<Self.budget {
                guard try send() else { return .writable }
                if state.conversation.ending != nil { return nil }
                switch try receive() {
                case .end: return nil
                case .batch:
                    guard begin() else { return nil }
                    state.conversation.receive(memory.batch(slot), scheme, password: password)
                    try step()
                    state.batch &+= 1
                    try keep()
                case .nothing:
                    guard begin() else { return nil }
                    state.conversation.produce(scheme, encoder)
                    try step()
                    if state.conversation.ending != nil { return nil }
                    if state.conversation.output.isEmpty {
                        memory.forgetAttempt(slot)
                        return .readable
                    }
                    try keep()
                }
            }
            return [.readable, .writable]
        } catch {
            state.conversation.end(error == .brokenPipe || error == .connectionReset ? "" : "\(error)")
            return nil
        }
    }

    /// False: servers died over this too often for it to be tried again.
    private func begin() -> Bool {
        if memory.noteAttempt(slot) < attemptLimit { return true }
        state.conversation.end("the server died over its message")
        return false
    }

    private func keep() throws(Errno) {
        let output = state.conversation.output
        state.conversation.output = []
        if !output.isEmpty {
            guard memory.setOutput(slot, output) else { throw .messageTooLong }
            state.output &+= 1
            state.outputCount = output.count
            isSent = false
        }
        try step()
        guard memory.commit(slot, state) else { throw .messageTooLong }
        try step()
    }

    private func step() throws(Errno) {
        guard stepsLeft > 0 else { throw .canceled }
        stepsLeft -= 1
    }

    // MARK: The socket

    private enum Received {
        case batch
        case nothing
        case end
    }

    /// Brings what came into the memory.
    private func receive() throws(Errno) -> Received {
        let batch = state.batch &+ 1
        if memory.hasBatch(slot, batch) { return .batch }
        let pipe = pipes.incoming.reading.rawValue
        var count = memory.batchCount(slot, batch)
        if count == 0 {
            count = try SystemCall.waitingBytes(pipe)
            if count == 0 {
                guard mayReceive else { return .nothing }
                do throws(Errno) {
                    count = try SystemCall.splice(
                        from: socket.rawValue, to: pipes.incoming.writing.rawValue, count: ViewerMemory.batchBytes)
                } catch .wouldBlock {
                    mayReceive = false
                    return .nothing
                }
                guard count > 0 else { return .end }
                try step()
            }
            memory.setBatchCount(slot, batch, count)
            try step()
        }
        while true {
            let left = try SystemCall.waitingBytes(pipe)
            guard left > 0 else { break }
            _ = try memory.readBatch(slot, from: count - left, count: left, pipe)
            try step()
        }
        memory.setBatch(slot, batch, count: count)
        try step()
        return .batch
    }

    /// Sends what is left of the output; false: the socket takes no more now.
    private func send() throws(Errno) -> Bool {
        while !isSent {
            let pipe = pipes.outgoing.reading.rawValue
            let waiting = try SystemCall.waitingBytes(pipe)
            let sent = memory.sent(slot, state.output)
            let filled = memory.filled(slot, state.output)
            if filled > sent {
                if waiting == 0 {
                    memory.setSent(slot, state.output, filled)
                    try step()
                    continue
                }
                do throws(Errno) {
                    guard try SystemCall.splice(from: pipe, to: socket.rawValue, count: waiting) > 0 else {
                        throw .brokenPipe
                    }
                } catch .wouldBlock {
                    return false
                }
                try step()
            } else if waiting > 0 {
                // Written before a death, and not noted.
                memory.setFilled(slot, state.output, sent + waiting)
            } else if sent < state.outputCount {
                let end = min(state.outputCount, sent + ViewerMemory.batchBytes)
                let count = try memory.writeOutput(slot, sent..<end, pipes.outgoing.writing.rawValue)
                try step()
                memory.setFilled(slot, state.output, sent + count)
                try step()
            } else {
                isSent = true
            }
        }
        return true
    }
}

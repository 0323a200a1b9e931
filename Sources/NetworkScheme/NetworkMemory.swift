import Platform
import SchemeKit

// What of the connections outlives the process. The sockets themselves are held by the supervisor, by name.
//
//     +--------------------------------+ 0
//     | magic u64, serial u64          |  the last number given to a connection, a node or a caller
//     | at 64: length u64, text        |  the name servers that were written to netcfg
//     +--------------------------------+ 4096
//     | 2048 connections, 512 each     |
//     +--------------------------------+
//     | 4096 names looked up, 320 each |  node number: serial; kind u32, length u32, text
//     +--------------------------------+
//
// A connection:
//
//      0  kind u32 (0: free; written last)     4  stage u32
//      8  serial u64     16  node u64          24  channel u32    28  flags u32
//     32  handle u64     40  request of the open u64
//     48  name of the socket: serial u64, number u64
//     64  what the kernel had counted at the first byte: sent u64, received u64
//     80  the last read: begun u64, request u64, channel u64, position u64, count u64
//    120  the last write: request u64, channel u64, position u64
//    144  errno u32     148  length of the text u32     152  text, up to 304 bytes
//    456  echoes: number of the answer u64, nanoseconds that it took + 1 u64, number of the last request u64
//    480  options, each a value + 1 in u32: nodelay, keepalive, ttl, timeout
//
// A read's bytes stay in the kernel until its answer is posted. The next incarnation sees from the kernel's counters whether
// they were taken out, from the channel whether the answer was posted, and takes them out if need be. Of a write it sees in the
// same way how much the kernel had taken.

/// What a connection is.
enum ConnectionKind: UInt32 {
    case free = 0
    case tcp = 1
    case listener = 2
    case udp = 3
    case tls = 4
    case echo = 5
}

/// What has become of it.
enum ConnectionStage: UInt32 {
    /// Made by `clone`, nothing else.
    case idle = 0
    case connecting = 1
    case connected = 2
    case listening = 3
}

/// What a looked up name stands for.
enum NameKind: UInt32 {
    case tcp = 1
    case tcpListen = 2
    case tcpClone = 3
    case udp = 4
    case udpClone = 5
    case dns = 6
    case tls = 7
    case echo = 8

    /// What opening it makes, if it makes a connection.
    var connection: ConnectionKind {
        switch self {
        case .udp, .udpClone: .udp
        case .tls: .tls
        case .echo: .echo
        case .tcp, .tcpListen, .tcpClone, .dns: .tcp
        }
    }
}

/// The connections in the memory that outlives the process.
final class NetworkMemory: Sendable {
    static let slotCount = 2048
    static let nameCount = 4096
    private static let slotBytes = 512
    private static let slotsOffset = 4096
    private static let namesOffset = slotsOffset + slotCount * slotBytes
    private static let nameBytes = 320
    static let longestText = nameBytes - 16
    static let byteCount = namesOffset + nameCount * nameBytes
    private static let magic: UInt64 = 0x3174_656e_6c61_7300

    private let memory: SharedMapping

    init(_ memory: SharedMapping) {
        self.memory = memory
        if memory.load64(0) != Self.magic { memory.store64Releasing(0, Self.magic) }
    }

    private func base(_ slot: Int) -> Int { Self.slotsOffset + slot * Self.slotBytes }

    /// A number never given before. One caller at a time.
    func newSerial() -> UInt64 {
        let serial = memory.load64(8) &+ 1
        memory.store64Releasing(8, serial)
        return serial
    }

    /// The name servers to ask, separated by blanks; empty: those of the machine. One caller at a time.
    var nameServers: String {
        get { text(at: 72, length: 64) }
        set {
            // Half a list is none.
            memory.store32Releasing(64, 0)
            SharedMapping.fence()
            storeText(newValue, at: 72, length: 64)
        }
    }

    // MARK: Names

    /// A new node for a name: each look-up has its own, so that no connection waits for another one's node.
    func addName(_ kind: NameKind, _ text: String) -> UInt64 {
        let serial = newSerial()
        let base = nameBase(serial)
        memory.store64Releasing(base, 0)
        SharedMapping.fence()
        memory.store32(base + 8, kind.rawValue)
        storeText(text, at: base + 16, length: base + 12)
        memory.store64Releasing(base, serial)
        return serial
    }

    private func nameBase(_ serial: UInt64) -> Int {
        Self.namesOffset + Int(serial % UInt64(Self.nameCount)) * Self.nameBytes
    }

    /// The name of a node; nil if that was long ago.
    func name(_ serial: UInt64) -> (kind: NameKind, text: String)? {
        let base = nameBase(serial)
        guard memory.load64Acquiring(base) == serial, let kind = NameKind(rawValue: memory.load32(base + 8)) else {
            return nil
        }
        return (kind, text(at: base + 16, length: base + 12))
    }

    private func storeText(_ text: String, at offset: Int, length: Int) {
        let bytes = Array(text.utf8.prefix(Self.longestText))
        let span = bytes.span
        memory.copyBytes(from: unsafe span.bytes, at: offset)
        memory.store32(length, UInt32(bytes.count))
    }

    private func text(at offset: Int, length: Int) -> String {
        let count = min(Int(memory.load32(length)), Self.longestText)
        let bytes = memory.bytes(offset, count: count, heldBy: self)
        return String(
            decoding: (0..<count).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }, as: UTF8.self)
    }

    // MARK: Connections

    func kind(_ slot: Int) -> ConnectionKind {
        ConnectionKind(rawValue: memory.load32Acquiring(base(slot))) ?? .free
    }

    var freeSlot: Int? { (0..<Self.slotCount).first { kind($0) == .free } }

    /// Makes a connection at a free place. It is one when its kind is written.
    func make(
        _ slot: Int, _ kind: ConnectionKind, stage: ConnectionStage, node: UInt64, channel: UInt32, handle: UInt64,
        request: UInt64, isNumbered: Bool, text: String
    ) {
        let base = base(slot)
        let serial = newSerial()
        for offset in stride(from: 8, to: 152, by: 8) { memory.store64(base + offset, 0) }
        for offset in stride(from: 456, to: Self.slotBytes, by: 8) { memory.store64(base + offset, 0) }
        memory.store64(base + 8, serial)
        memory.store64(base + 16, node)
        memory.store32(base + 24, channel)
        memory.store32(base + 28, isNumbered ? 1 : 0)
        memory.store64(base + 32, handle)
        memory.store64(base + 40, request)
        memory.store64(base + 48, serial)
        storeText(text, at: base + 152, length: base + 148)
        memory.store32(base + 4, stage.rawValue)
        memory.store32Releasing(base, kind.rawValue)
    }

    func free(_ slot: Int) { memory.store32Releasing(base(slot), ConnectionKind.free.rawValue) }

    func stage(_ slot: Int) -> ConnectionStage { ConnectionStage(rawValue: memory.load32(base(slot) + 4)) ?? .idle }
    func setStage(_ slot: Int, _ stage: ConnectionStage) { memory.store32Releasing(base(slot) + 4, stage.rawValue) }
    func setKind(_ slot: Int, _ kind: ConnectionKind) { memory.store32Releasing(base(slot), kind.rawValue) }
    func serial(_ slot: Int) -> UInt64 { memory.load64(base(slot) + 8) }
    func node(_ slot: Int) -> UInt64 { memory.load64(base(slot) + 16) }
    func channel(_ slot: Int) -> UInt32 { memory.load32(base(slot) + 24) }
    func isNumbered(_ slot: Int) -> Bool { memory.load32(base(slot) + 28) & 1 != 0 }
    /// A datagram read begins with its sender, a datagram written with its receiver.
    func hasHeaders(_ slot: Int) -> Bool { memory.load32(base(slot) + 28) & 2 != 0 }
    func setHasHeaders(_ slot: Int) { memory.store32(base(slot) + 28, memory.load32(base(slot) + 28) | 2) }
    func handle(_ slot: Int) -> UInt64 { memory.load64(base(slot) + 32) }
    func forgetHandle(_ slot: Int) { memory.store64Releasing(base(slot) + 32, 0) }
    func openRequest(_ slot: Int) -> UInt64 { memory.load64(base(slot) + 40) }
    func text(_ slot: Int) -> String { text(at: base(slot) + 152, length: base(slot) + 148) }
    func setText(_ slot: Int, _ text: String) { storeText(text, at: base(slot) + 152, length: base(slot) + 148) }

    /// Under which name the supervisor holds the socket: `SERIAL.ATTEMPT`, of a caller `LISTENER.NUMBER`, with the highest bit set.
    func socketName(_ slot: Int) -> SocketName {
        SocketName(owner: memory.load64(base(slot) + 48), number: memory.load64(base(slot) + 56))
    }
    func setSocketName(_ slot: Int, _ name: SocketName) {
        memory.store64(base(slot) + 56, name.number)
        memory.store64(base(slot) + 48, name.owner)
    }

    func baseline(_ slot: Int) -> (sent: UInt64, received: UInt64) {
        (memory.load64(base(slot) + 64), memory.load64(base(slot) + 72))
    }
    func setBaseline(_ slot: Int, sent: UInt64, received: UInt64) {
        memory.store64(base(slot) + 64, sent)
        memory.store64(base(slot) + 72, received)
    }

    /// A read whose bytes are in its reply and still in the kernel.
    struct ReadMark {
        var request: UInt64
        var channel: UInt32
        var position: UInt64
        var count: UInt64
    }

    func setRead(_ slot: Int, _ mark: ReadMark) {
        let base = base(slot)
        memory.store64Releasing(base + 80, 0)
        SharedMapping.fence()
        memory.store64(base + 88, mark.request)
        memory.store64(base + 96, UInt64(mark.channel))
        memory.store64(base + 104, mark.position)
        memory.store64(base + 112, mark.count)
        memory.store64Releasing(base + 80, 1)
    }

    func read(_ slot: Int) -> ReadMark? {
        let base = base(slot)
        guard memory.load64Acquiring(base + 80) == 1 else { return nil }
        return ReadMark(
            request: memory.load64(base + 88), channel: UInt32(truncatingIfNeeded: memory.load64(base + 96)),
            position: memory.load64(base + 104), count: memory.load64(base + 112))
    }

    /// A write that has begun: its first byte has this position in the stream.
    struct WriteMark: Equatable {
        var request: UInt64
        var channel: UInt32
        var position: UInt64

        /// The position of what is no stream's write but a command of `ctl`.
        static let command = UInt64.max
    }

    func setWrite(_ slot: Int, _ mark: WriteMark) {
        let base = base(slot)
        // No channel has the number 0xffff_ffff_ffff: half a mark is nobody's.
        memory.store64Releasing(base + 128, UInt64(UInt32.max) << 16)
        SharedMapping.fence()
        memory.store64(base + 120, mark.request)
        memory.store64(base + 136, mark.position)
        memory.store64Releasing(base + 128, UInt64(mark.channel) + 1)
    }

    func write(_ slot: Int) -> WriteMark? {
        let base = base(slot)
        let channel = memory.load64Acquiring(base + 128)
        guard channel != 0, let number = UInt32(exactly: channel - 1) else { return nil }
        return WriteMark(
            request: memory.load64(base + 120), channel: number, position: memory.load64(base + 136))
    }

    /// The last answer to an echo request; nil if there was none yet.
    func echoAnswer(_ slot: Int) -> (number: UInt64, nanoseconds: UInt64)? {
        let time = memory.load64Acquiring(base(slot) + 464)
        return time == 0 ? nil : (memory.load64(base(slot) + 456), time - 1)
    }

    /// A new answer: nothing of its line was read.
    func setEchoAnswer(_ slot: Int, number: UInt64, nanoseconds: UInt64) {
        let base = base(slot)
        memory.store64Releasing(base + 464, 0)
        SharedMapping.fence()
        memory.store64(base + 80, 0)
        memory.store64(base + 456, number)
        memory.store64Releasing(base + 464, nanoseconds &+ 1)
    }

    func echoNumber(_ slot: Int) -> UInt64 { memory.load64(base(slot) + 472) }

    /// The number of the next request.
    func newEchoNumber(_ slot: Int) -> UInt64 {
        let number = echoNumber(slot) &+ 1
        memory.store64Releasing(base(slot) + 472, number)
        return number
    }

    /// An option that was set; nil if it wasn't.
    func option(_ slot: Int, _ option: ConnectionOption) -> Int32? {
        let value = memory.load32(base(slot) + 480 + 4 * option.rawValue)
        return value == 0 ? nil : Int32(clamping: value - 1)
    }

    func setOption(_ slot: Int, _ option: ConnectionOption, _ value: Int32) {
        memory.store32Releasing(base(slot) + 480 + 4 * option.rawValue, UInt32(clamping: value) &+ 1)
    }

    func failure(_ slot: Int) -> Int32 { Int32(bitPattern: memory.load32(base(slot) + 144)) }
    func setFailure(_ slot: Int, _ errno: Int32) {
        memory.store32Releasing(base(slot) + 144, UInt32(bitPattern: errno))
    }
}

/// The supervisor's name of a socket.
struct SocketName: Hashable {
    let owner: UInt64
    let number: UInt64

    init(owner: UInt64, number: UInt64) {
        self.owner = owner
        self.number = number
    }

    init?(_ text: String) {
        let parts = text.split(separator: ".")
        guard parts.count == 2, let owner = UInt64(parts[0]), let number = UInt64(parts[1]) else { return nil }
        self.init(owner: owner, number: number)
    }

    private static let callerBit: UInt64 = 1 << 63

    /// A caller's name: no attempt of the same connection, which may connect later, has it.
    static func caller(of listener: UInt64, _ number: UInt64) -> SocketName {
        SocketName(owner: listener, number: number | callerBit)
    }

    var isCaller: Bool { number & Self.callerBit != 0 }

    var text: String { "\(owner).\(number)" }
}

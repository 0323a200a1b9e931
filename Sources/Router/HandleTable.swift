import Platform
import SchemeTransport

// Open files outlive the server that opened them and the router that asked for it, so they are written down in the client
// area of the channel, 32 bytes each:
//
//      0  state u32     4  flags of open u32
//      8  node u64     16  generation of the node u64
//     24  while it is open, the kernel's number for poll(2); then the sequence number of the close, u64
//
// The first place is the route's own (`SchemeRoute.recoveredIncarnation`). A handle's number is its place + 1. A file whose close deleted its node stays until the close is committed: a server that
// repeats the log must find it open.

/// The open files of one scheme.
final class HandleTable: Sendable {
    /// What is written down of an open file.
    struct Record: Equatable, Sendable {
        var handle: UInt64
        var node: UInt64
        var generation: UInt64
        var flags: UInt32
        /// The kernel's number for who polls it, 0 if nobody does.
        var wakeHandle: UInt64
        /// 0 while it is open; then the number of the change that closing it was.
        var closedBy: UInt64
    }

    private enum Place {
        static let byteCount = 32
        static let free: UInt32 = 0
        static let opening: UInt32 = 1
        static let open: UInt32 = 2
        static let closed: UInt32 = 3
    }

    private struct State {
        var free: [UInt32] = []
        var used = 1
    }

    private let client: ChannelClient
    private let count: Int
    private let state: Locked<State>

    /// The table in a channel's client area, as the last router left it.
    init(_ client: ChannelClient) {
        self.client = client
        count = client.layout.geometry.clientAreaBytes / Place.byteCount
        var state = State()
        // Places are taken in order, so what was never used is one run at the end: find its start.
        for index in 1..<count {
            let word = Self.word(client, index, 0)
            if word == 0, Self.word(client, index, 8) == 0 { break }
            state.used = index + 1
            if UInt32(truncatingIfNeeded: word) == Place.free { state.free.append(UInt32(index)) }
        }
        self.state = Locked(state)
    }

    private static func word(_ client: ChannelClient, _ index: Int, _ offset: Int) -> UInt64 {
        let bytes = client.clientArea(index * Place.byteCount + offset, count: 8)
        return unsafe bytes.bytes.unsafeLoad(as: UInt64.self)
    }

    private func word(_ index: Int, _ offset: Int) -> UInt64 { Self.word(client, index, offset) }

    private func store(_ index: Int, _ offset: Int, _ value: UInt64) {
        let client = client
        var bytes = client.clientArea(index * Place.byteCount + offset, count: 8)
        bytes.storeBytes(of: value, as: UInt64.self)
    }

    private func index(_ handle: UInt64) -> Int? {
        let number = Int(truncatingIfNeeded: handle & 0xffff_ffff)
        guard number >= 2, number <= count else { return nil }
        return number - 1
    }

    /// A number for a file that is going to be opened; nil if too many are open.
    func reserve(node: UInt64, flags: UInt32) -> UInt64? {
        state.withLock { state -> UInt64? in
            let index: Int
            if let free = state.free.popLast() {
                index = Int(free)
            } else {
                guard state.used < count else { return nil }
                index = state.used
                state.used += 1
            }
            store(index, 8, node)
            store(index, 16, 0)
            store(index, 24, 0)
            store(index, 0, UInt64(Place.opening) | UInt64(flags) << 32)
            return UInt64(index + 1)
        }
    }

    /// The file is open.
    func didOpen(_ handle: UInt64, node: UInt64, generation: UInt64) {
        guard let index = index(handle) else { return }
        state.withLock { _ in
            store(index, 8, node)
            store(index, 16, generation)
            store(index, 0, word(index, 0) & ~0xffff_ffff | UInt64(Place.open))
        }
    }

    /// The file isn't open: opening failed, or closing changed nothing.
    func free(_ handle: UInt64) {
        guard let index = index(handle) else { return }
        state.withLock { state in
            guard UInt32(truncatingIfNeeded: word(index, 0)) != Place.free else { return }
            store(index, 0, word(index, 0) & ~0xffff_ffff | UInt64(Place.free))
            state.free.append(UInt32(index))
        }
    }

    /// The file was closed by a change of that number, which isn't committed yet.
    func didClose(_ handle: UInt64, sequence: UInt64) {
        guard let index = index(handle) else { return }
        state.withLock { _ in
            store(index, 24, sequence)
            store(index, 0, word(index, 0) & ~0xffff_ffff | UInt64(Place.closed))
        }
    }

    /// Remembers whom to wake.
    func setWakeHandle(_ number: UInt64, _ handle: UInt64) {
        guard let index = index(handle) else { return }
        state.withLock { _ in
            guard UInt32(truncatingIfNeeded: word(index, 0)) == Place.open else { return }
            store(index, 24, number)
        }
    }

    /// Whom to wake.
    func wakeHandle(_ handle: UInt64) -> UInt64 {
        guard let index = index(handle) else { return 0 }
        return state.withLock { _ in
            UInt32(truncatingIfNeeded: word(index, 0)) == Place.open ? word(index, 24) : 0
        }
    }

    /// Frees what was closed by committed changes.
    func collect(committed: UInt64) {
        for record in records() where record.closedBy != 0 && record.closedBy <= committed { free(record.handle) }
    }

    /// Open files, and those whose closing isn't committed.
    func records() -> [Record] {
        state.withLock { state in
            (1..<state.used).compactMap { index -> Record? in
                let word = word(index, 0)
                let kind = UInt32(truncatingIfNeeded: word)
                guard kind == Place.open || kind == Place.closed else { return nil }
                return Record(
                    handle: UInt64(index + 1), node: self.word(index, 8), generation: self.word(index, 16),
                    flags: UInt32(truncatingIfNeeded: word >> 32),
                    wakeHandle: kind == Place.open ? self.word(index, 24) : 0,
                    closedBy: kind == Place.closed ? self.word(index, 24) : 0)
            }
        }
    }

    /// Frees what a dead router reserved and never asked to be opened.
    ///
    /// - Parameter alive: numbers that requests in flight or answered and not told mention.
    func dropUnfinished(except alive: Set<UInt64>) {
        let dead = state.withLock { state in
            (1..<state.used).compactMap { index -> UInt64? in
                let isOpening = UInt32(truncatingIfNeeded: word(index, 0)) == Place.opening
                return isOpening && !alive.contains(UInt64(index + 1)) ? UInt64(index + 1) : nil
            }
        }
        for handle in dead { free(handle) }
    }

    /// How many files are open.
    var openCount: Int { records().count { $0.closedBy == 0 } }
}

import Platform
import SchemeTransport

// Open files outlive the server that opened them and the router that asked for it, so they are written down in the client
// area of the channel, 40 bytes each:
//
//      0  state u8, use of the place u24        4  flags of open u32
//      8  node u64     16  generation of the node u64
//     24  while it is open, the kernel's number for poll(2); then the sequence number of the close, u64
//     32  sequence number of the change behind which it was opened, u64
//
// The first place is the route's own (`SchemeRoute.recoveredIncarnation`). A handle's number is its place + 1, and in its upper half
// which use of the place it is: a completion that is looked at again, after the place went to another file, changes nothing.
//
// Opens and closes are noted where completions are taken, before anybody else hears of them: whoever hands the open files over
// to a server that repeats the log finds what the completions say that were taken before. A file whose close deleted its node stays
// until the close is committed: a server that repeats the log must find it open.

/// The open files of one scheme.
final class HandleTable: Sendable {
    /// What is written down of an open file.
    struct Record: Equatable, Sendable {
        var handle: UInt64
        var node: UInt64
        var generation: UInt64
        var flags: UInt32
        /// The number of the change behind which it was opened: a repetition opens it there.
        var openedAfter: UInt64
        /// The kernel's number for who polls it, 0 if nobody does.
        var wakeHandle: UInt64
        /// 0 while it is open; then the number of the change that closing it was.
        var closedBy: UInt64
    }

    private enum Place {
        static let byteCount = 40
        static let stateMask: UInt64 = 0xff
        static let useMask: UInt64 = 0xff_ffff
        static let free: UInt32 = 0
        static let opening: UInt32 = 1
        static let open: UInt32 = 2
        static let closed: UInt32 = 3
    }

    private struct State {
        var free: [UInt32] = []
        var used = 1
    }

    let client: ChannelClient
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
            if UInt32(word & Place.stateMask) == Place.free { state.free.append(UInt32(index)) }
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

    private func kind(_ index: Int) -> UInt32 { UInt32(word(index, 0) & Place.stateMask) }

    private func setKind(_ index: Int, _ kind: UInt32) {
        store(index, 0, word(index, 0) & ~Place.stateMask | UInt64(kind))
    }

    private func handle(_ index: Int) -> UInt64 { UInt64(index + 1) | (word(index, 0) >> 8 & Place.useMask) << 32 }

    /// The place of a handle; nil if the place is another file's by now. Under the lock.
    private func index(_ handle: UInt64) -> Int? {
        let number = Int(truncatingIfNeeded: handle & 0xffff_ffff)
        guard number >= 2, number <= count, self.handle(number - 1) == handle else { return nil }
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
            let use = (word(index, 0) >> 8 &+ 1) & Place.useMask
            store(index, 8, node)
            store(index, 16, 0)
            store(index, 24, 0)
            store(index, 32, 0)
            store(index, 0, UInt64(Place.opening) | use << 8 | UInt64(flags) << 32)
            return handle(index)
        }
    }

    /// The file is open. Nothing changes if that was noted before, even if the file was closed since.
    func didOpen(_ handle: UInt64, node: UInt64, generation: UInt64, after sequence: UInt64 = 0) {
        state.withLock { _ in
            guard let index = index(handle), kind(index) == Place.opening else { return }
            store(index, 8, node)
            store(index, 16, generation)
            store(index, 32, sequence)
            setKind(index, Place.open)
        }
    }

    /// The flags that a file was opened with; nil if it isn't open.
    func flags(_ handle: UInt64) -> UInt32? {
        state.withLock { _ in
            guard let index = index(handle), kind(index) == Place.open else { return nil }
            return UInt32(truncatingIfNeeded: word(index, 0) >> 32)
        }
    }

    /// The file isn't open: opening failed, or closing changed nothing.
    func free(_ handle: UInt64) {
        state.withLock { state in
            guard let index = index(handle), kind(index) != Place.free else { return }
            setKind(index, Place.free)
            state.free.append(UInt32(index))
        }
    }

    /// The file was closed by a change of that number, which isn't committed yet.
    func didClose(_ handle: UInt64, sequence: UInt64) {
        state.withLock { _ in
            guard let index = index(handle), kind(index) == Place.open else { return }
            store(index, 24, sequence)
            setKind(index, Place.closed)
        }
    }

    /// Remembers whom to wake.
    func setWakeHandle(_ number: UInt64, _ handle: UInt64) {
        state.withLock { _ in
            guard let index = index(handle), kind(index) == Place.open else { return }
            store(index, 24, number)
        }
    }

    /// Whom to wake.
    func wakeHandle(_ handle: UInt64) -> UInt64 {
        state.withLock { _ in
            guard let index = index(handle), kind(index) == Place.open else { return 0 }
            return word(index, 24)
        }
    }

    /// Whether somebody polls an open file, or did: his next call would not be told if events were late.
    var isPolled: Bool {
        state.withLock { state in
            (1..<state.used).contains { kind($0) == Place.open && word($0, 24) != 0 }
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
                let kind = kind(index)
                guard kind == Place.open || kind == Place.closed else { return nil }
                return Record(
                    handle: handle(index), node: word(index, 8), generation: word(index, 16),
                    flags: UInt32(truncatingIfNeeded: word(index, 0) >> 32),
                    openedAfter: word(index, 32), wakeHandle: kind == Place.open ? word(index, 24) : 0,
                    closedBy: kind == Place.closed ? word(index, 24) : 0)
            }
        }
    }

    /// Frees what a dead router reserved and never asked to be opened.
    ///
    /// - Parameter alive: numbers that requests in flight or answered and not told mention.
    func dropUnfinished(except alive: Set<UInt64>) {
        let dead = state.withLock { state in
            (1..<state.used).compactMap { index -> UInt64? in
                kind(index) == Place.opening && !alive.contains(handle(index)) ? handle(index) : nil
            }
        }
        for handle in dead { free(handle) }
    }

    /// How many files are open.
    var openCount: Int { records().count { $0.closedBy == 0 } }
}

import Platform
import SchemeProtocol

// How a side that has nothing to do sleeps, and how the other one wakes it.
//
// Each side has a state word in the memory that it writes: a count of its sleeps and how it sleeps (`SleepState`). Each side has
// a tail word in the memory that it writes: the position up to which it has put entries into its ring. The sleeper
// sleeps on the other side's tail:
//
//     sleeper (consumer)                          ringer (producer)
//     1 tail == head: nothing to do               A write the entry
//     2 state = (count + 1, asleep)               B tail = tail + 1
//     3 fence                                     C fence
//     4 tail != head: state = awake, work         D state awake: done
//     5 futex wait while tail == head             E state rung before: done
//     6 state = (count + 1, awake)                F wake
//
// Cases, each with the reason why no wake-up is lost and none is wasted:
// - B before 4: the sleeper sees the entry itself. A ring that comes after is spurious.
// - 4 before B: then 2 is visible at D (the fences on both sides): F happens.
// - F before 5: the futex compares tail with head in the kernel, sees the difference and doesn't sleep.
// - F before 5, for an entry that the sleeper had taken before 2 (the ringer was slow between B and C): there is no difference, and it
//   sleeps. F woke nobody, so this sleep isn't noted as rung, and the next entry rings again.
// - Several entries while the sleeper wakes up (between F and 6): the state still says asleep with the same count; E stops all
//   but the first ring that woke it: sleep number `count` ends for certain.
// - Entries without a ring, then `ringAgain`: the tail has changed before, so the sleeper sees it (4, 5) or is woken. If it has taken
//   them by itself, and is going to sleep again when `ringAgain` comes, that wakes nobody; as it isn't noted, the next ring does.
// - The sleeper's time limit passes between D and F: F wakes nobody, or the next sleep for nothing.
// - The sleeper dies asleep: its successor counts on from the same word and begins awake; rings in between wake nobody.
// - The ringer dies between B and F: the entry lies there and the sleeper sleeps. Its successor rings without looking
//   (`Ringer.ringAlways`) when it has attached.
// - The ringer's memory is replaced (a new client): the sleeper may sleep on the old memory's word, which the new one can't wake.
//   The replacer gets it out of the sleep first (ChannelServer.replaceRequestMemory).
// - Tail wraps to the same value during the sleep: needs 2^32 entries in a ring of at most 2^16.
// - The sleeper waits in poll (`onEvent`): as above with the eventfd, which stays readable, in place of the futex. A late
//   signal makes one later poll return for nothing.
// - A hostile peer writes its state or tail at will: it can make us ring for nothing (one system call per entry) or not ring it
//   (it sleeps), and can make us look for entries that aren't there. Nothing else.

/// The side of a doorbell that sleeps.
struct Sleeper {
    /// The memory with the state word: ours.
    let own: SharedMapping
    /// Where the state word is.
    let stateOffset: Int
    /// The memory with the tail: the peer's.
    let peer: SharedMapping
    /// Where the tail is.
    let tailOffset: Int

    private func begin(_ state: SleepState) -> UInt32 {
        let count = (own.load32(stateOffset) >> 2) &+ 1
        own.store32(stateOffset, count << 2 | state.rawValue)
        SharedMapping.fence()
        return count
    }

    /// Says that this side is awake: at attachment, and after `prepareToPoll`.
    func awake() {
        let count = own.load32(stateOffset) >> 2
        own.store32Releasing(stateOffset, (count &+ 1) << 2)
    }

    /// Sleeps until the tail isn't `head`, or for at most `nanoseconds`; may return early.
    func sleep(head: UInt32, nanoseconds: UInt64?) {
        let count = begin(.onFutex)
        if peer.load32Acquiring(tailOffset) == head {
            peer.futexWait(tailOffset, while: head, nanoseconds: nanoseconds)
        }
        own.store32Releasing(stateOffset, count << 2)
    }

    /// Announces a poll on the event descriptor. False if there is something to do: don't poll.
    func prepareToPoll(head: UInt32) -> Bool {
        _ = begin(.onEvent)
        if peer.load32Acquiring(tailOffset) == head { return true }
        awake()
        return false
    }
}

/// The side of a doorbell that wakes. Not safe for use by two threads at once: its owner's lock guards it.
struct Ringer {
    /// The memory with our tail.
    let own: SharedMapping
    /// Where our tail is.
    let tailOffset: Int
    /// The memory with the peer's state.
    let peer: SharedMapping
    /// Where the peer's state is.
    let stateOffset: Int
    /// The event descriptor that the peer polls, if it has one.
    let bell: SharedDescriptor?
    /// The state for which it rang last.
    private var lastRung: UInt32 = 0
    /// How often it rang.
    private(set) var rings: UInt64 = 0

    init(own: SharedMapping, tailOffset: Int, peer: SharedMapping, stateOffset: Int, bell: SharedDescriptor?) {
        self.own = own
        self.tailOffset = tailOffset
        self.peer = peer
        self.stateOffset = stateOffset
        self.bell = bell
    }

    /// Wakes the peer if it sleeps and wasn't woken from this sleep yet.
    mutating func ring() {
        SharedMapping.fence()
        let state = peer.load32(stateOffset)
        guard state & 3 != SleepState.awake.rawValue, state != lastRung else { return }
        rings &+= 1
        if wake(state) { lastRung = state }
    }

    /// Whether the peer is certain to end this sleep by it.
    @discardableResult
    private func wake(_ state: UInt32) -> Bool {
        if state & 3 == SleepState.onEvent.rawValue, let bell {
            SystemCall.signalEvent(bell.rawValue)
            return true
        }
        return own.futexWake(tailOffset) > 0
    }

    /// Wakes the peer if it sleeps, although nothing new is there since the last `ring`: for entries that were put in without one.
    ///
    /// That isn't noted as a ring of this sleep: without a new tail the peer may sleep on.
    func ringAgain() {
        SharedMapping.fence()
        let state = peer.load32(stateOffset)
        guard state & 3 != SleepState.awake.rawValue else { return }
        wake(state)
    }

    /// Wakes the peer however it sleeps: at attachment, when the predecessor may have died before it rang.
    func ringAlways() {
        own.futexWake(tailOffset, count: Int32.max)
        if let bell { SystemCall.signalEvent(bell.rawValue) }
    }
}

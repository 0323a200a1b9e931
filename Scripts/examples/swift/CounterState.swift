import SchemeKit

/// The number of ticks, in memory that outlives the process.
///
/// A change writes the slot that isn't current, then the index: it is made wholly or not at all, and a request that comes again
/// although it was made is known by its number. Words: index; then two slots of channel, request, count.
final class CounterState: Sendable {
    private let state: SchemeState

    init(_ state: SchemeState) { self.state = state }

    private var index: Int { Int(state.memory.load64(0) & 1) }

    private func word(_ slot: Int, _ number: Int) -> Int { 8 + 24 * slot + 8 * number }

    var count: UInt64 { state.memory.load64(word(index, 2)) }

    func tick(_ context: CallContext) {
        let (memory, now) = (state.memory, index)
        let isMade =
            context.isResubmitted && memory.load64(word(now, 0)) == UInt64(context.channel)
            && memory.load64(word(now, 1)) == context.requestID
        guard !isMade else { return }
        let next = 1 - now
        memory.store64(word(next, 0), UInt64(context.channel))
        memory.store64(word(next, 1), context.requestID)
        memory.store64(word(next, 2), memory.load64(word(now, 2)) &+ 1)
        memory.store64Releasing(0, UInt64(next))
    }
}

import Platform

/// What open files of `sys` say. They are computed when they are read, and say something else a moment later: who reads one in
/// pieces gets the pieces of one text.
///
/// A reading from the start computes the text anew, as with files of /proc: who has the file open can look again. The texts of a
/// router that died are gone; the next piece then comes from a new text.
final class SystemSnapshots: Sendable {
    private struct State {
        var last: UInt64
        var texts: [UInt64: [UInt8]] = [:]
    }

    private let state: Locked<State>

    /// - Parameter incarnation: the router's: the numbers of an earlier one's files are none of ours.
    init(incarnation: UInt32) {
        state = Locked(State(last: UInt64(incarnation) << 32))
    }

    /// A number for an open file, never 0.
    func open() -> UInt64 {
        state.withLock { state in
            state.last &+= 1
            return state.last
        }
    }

    /// The text of an open file; nil if it isn't one.
    ///
    /// - Parameter compute: gives the text; called without a lock.
    func text(_ handle: UInt64, at offset: UInt64, _ compute: () -> String?) -> [UInt8]? {
        if offset > 0, let text = state.withLock({ $0.texts[handle] }) { return text }
        guard let text = compute().map({ Array($0.utf8) }) else { return nil }
        if handle != 0 { state.withLock { $0.texts[handle] = text } }
        return text
    }

    /// The file was closed.
    func close(_ handle: UInt64) {
        _ = state.withLock { $0.texts.removeValue(forKey: handle) }
    }

    /// How many texts are kept.
    var count: Int { state.withLock { $0.texts.count } }
}

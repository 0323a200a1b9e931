import DiskFormat

/// Tells from a sample whether LZ4 can do anything with a record. Most files that are large are packed already: for them
/// the compressor's full run would be the largest cost of a write.
enum IncompressibilityEstimate {
    /// Windows of the sample, spread evenly over the record.
    private static let windowCount = 8
    /// Bytes of a window.
    private static let windowSize = 512
    /// Slots of the table of what was seen: one bit each, so that the table lies in 16 words.
    private static let slotBits: UInt32 = 12

    /// Whether the sample has hardly any sequence of four bytes twice. Records of less than 32 KiB never do: a full run over
    /// them costs no more than being wrong.
    ///
    /// LZ4 shrinks a record only where it finds such repeats; letters from a small alphabet alone don't help it.
    static func looksIncompressible(_ plain: RawSpan) -> Bool {
        guard plain.byteCount >= 32768 else { return false }
        let stride = plain.byteCount / windowCount
        var hits = 0
        unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 1 << Int(slotBits)) { table in
            unsafe table.initialize(repeating: 0)
            for window in 0..<windowCount {
                let start = window &* stride
                for step in 0..<(windowSize / 2) {
                    let word = plain.u32(at: start &+ step &* 2)
                    let slot = Int(truncatingIfNeeded: (word &* 2_654_435_761) &>> (32 &- slotBits))
                    // The stored word, not a bit: two sequences that share a slot are no repeat.
                    if unsafe table[slot] == word { hits &+= 1 }
                    unsafe table[slot] = word
                }
            }
        }
        // Random bytes have none; a text or a table has one in three.
        return hits < 24
    }
}

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

    /// Distance of the single words that are looked at between the windows: odd, so that a repeat at any distance is met.
    private static let probeStride = 255

    /// Whether the sample has hardly any sequence of four bytes twice, and what lies between its windows repeats neither them
    /// nor itself. Records of less than 32 KiB never do: a full run over them costs no more than being wrong.
    ///
    /// LZ4 shrinks a record only where it finds such repeats; letters from a small alphabet alone don't help it.
    static func looksIncompressible(_ plain: RawSpan) -> Bool {
        guard plain.byteCount >= 32768 else { return false }
        let stride = plain.byteCount / windowCount
        var near = 0
        var far = 0
        unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 1 << Int(slotBits)) { table in
            unsafe table.initialize(repeating: 0)
            for window in 0..<windowCount {
                let start = window &* stride
                for step in 0..<(windowSize / 2) {
                    if unsafe isRepeat(plain, start &+ step &* 2, table) { near &+= 1 }
                }
            }
            // A long repeat of a window, at whatever distance, is met by two words, one of them as even as the window's.
            for probe in 1..<(plain.byteCount &- 4) / probeStride {
                let position = probe &* probeStride
                if position % stride >= windowSize, unsafe isRepeat(plain, position, table) { far &+= 1 }
            }
        }
        // Random bytes have none; a text or a table has one in three.
        return near < 24 && far < 3
    }

    /// Whether a word is where the table has the last one of its kind; it is that from now on.
    @inline(__always)
    private static func isRepeat(
        _ plain: RawSpan, _ position: Int, _ table: UnsafeMutableBufferPointer<UInt32>
    ) -> Bool {
        let word = plain.u32(at: position)
        let slot = Int(truncatingIfNeeded: (word &* 2_654_435_761) &>> (32 &- slotBits))
        // The stored word, not a bit: two sequences that share a slot are no repeat.
        let isKnown = unsafe table[slot] == word
        unsafe table[slot] = word
        return isKnown
    }
}

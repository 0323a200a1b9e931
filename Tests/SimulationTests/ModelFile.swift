/// The content of one file of the model: pages of 4 KiB by number, holes absent. Sparse, so that a model of a file of
/// terabytes stays small, and trivially right: no record, no list, no compression.
struct ModelFile: Equatable {
    static let pageSize: UInt64 = 4096

    private(set) var size: UInt64 = 0
    /// Pages that were ever written and not cut off or punched since. A missing page reads as zeros.
    private var pages: [UInt64: [UInt8]] = [:]

    static func == (left: ModelFile, right: ModelFile) -> Bool {
        guard left.size == right.size else { return false }
        return Set(left.pages.keys).union(right.pages.keys).allSatisfy { left.page($0) == right.page($0) }
    }

    private func page(_ number: UInt64) -> [UInt8] {
        pages[number] ?? [UInt8](repeating: 0, count: Int(Self.pageSize))
    }

    /// The page numbers that hold data, ascending: where a comparison has to look beside the ends.
    var writtenPages: [UInt64] { pages.keys.sorted() }

    /// What read(2) returns: up to `count` bytes from `offset`, less at the end of the file.
    func read(at offset: UInt64, count: Int) -> [UInt8] {
        guard offset < size else { return [] }
        let end = min(size, offset + UInt64(count))
        var result: [UInt8] = []
        result.reserveCapacity(Int(end - offset))
        var position = offset
        while position < end {
            let number = position / Self.pageSize
            let within = Int(position % Self.pageSize)
            let length = min(Int(Self.pageSize) - within, Int(end - position))
            if let page = pages[number] {
                result.append(contentsOf: page[within..<within + length])
            } else {
                result.append(contentsOf: repeatElement(0, count: length))
            }
            position += UInt64(length)
        }
        return result
    }

    /// pwrite(2).
    mutating func write(at offset: UInt64, _ bytes: [UInt8]) {
        var position = offset
        var index = 0
        while index < bytes.count {
            let number = position / Self.pageSize
            let within = Int(position % Self.pageSize)
            let length = min(Int(Self.pageSize) - within, bytes.count - index)
            var page = page(number)
            page.replaceSubrange(within..<within + length, with: bytes[index..<index + length])
            pages[number] = page
            position += UInt64(length)
            index += length
        }
        size = max(size, offset + UInt64(bytes.count))
    }

    /// ftruncate(2).
    mutating func truncate(to newSize: UInt64) {
        if newSize < size {
            zero(from: newSize, to: size)
            let firstGone = (newSize + Self.pageSize - 1) / Self.pageSize
            pages = pages.filter { $0.key < firstGone }
        }
        size = newSize
    }

    /// Makes the bytes read as zeros; the size stays.
    mutating func zero(from start: UInt64, to end: UInt64) {
        for number in pages.keys {
            let pageStart = number * Self.pageSize
            let from = max(start, pageStart)
            let to = min(end, pageStart + Self.pageSize)
            guard from < to else { continue }
            if to - from == Self.pageSize {
                pages[number] = nil
            } else {
                pages[number]?.replaceSubrange(
                    Int(from - pageStart)..<Int(to - pageStart), with: repeatElement(0, count: Int(to - from)))
            }
        }
    }

    /// Grows the size if `end` lies beyond it, as fallocate(2) without FALLOC_FL_KEEP_SIZE does.
    mutating func extend(to end: UInt64) { size = max(size, end) }

    /// Whether all bytes of the range are zeros: what a reported hole must be.
    func isZero(from start: UInt64, to end: UInt64) -> Bool {
        pages.allSatisfy { number, page in
            let pageStart = number * Self.pageSize
            let from = max(start, pageStart)
            let to = min(end, pageStart + Self.pageSize)
            return from >= to || page[Int(from - pageStart)..<Int(to - pageStart)].allSatisfy { $0 == 0 }
        }
    }
}

import Platform

/// Pages of 4 KiB that lie over a base device. A value: a copy costs a reference, and pages that two copies share are
/// copied before one of them is changed.
struct PageMap: Sendable {
    static let pageByteCount = 4096

    private var pages: [UInt64: AlignedBuffer] = [:]
    /// The base is used up to here only: what lay behind when the device shrank must not reappear.
    private var baseLimit = UInt64.max

    var count: Int { pages.count }

    /// The numbers of the pages that lie over the base, in no order.
    var numbers: [UInt64] { Array(pages.keys) }

    func read(
        at offset: UInt64, into buffer: inout MutableRawSpan, over base: any BlockDevice
    ) throws(BlockDeviceError) {
        let length = buffer.byteCount
        if pages.isEmpty, offset + UInt64(length) <= min(base.byteCount, baseLimit) {
            try base.read(at: offset, into: &buffer)
            return
        }
        var done = 0
        while done < length {
            let (number, start) = Self.locate(offset + UInt64(done))
            let count = min(length - done, Self.pageByteCount - start)
            if let page = pages[number] {
                buffer.copyBytes(from: page.bytes(start..<start + count), at: done)
            } else {
                let scratch = try basePage(number, base)
                buffer.copyBytes(from: scratch.bytes(start..<start + count), at: done)
            }
            done += count
        }
    }

    mutating func write(at offset: UInt64, _ bytes: RawSpan, over base: any BlockDevice) throws(BlockDeviceError) {
        var done = 0
        while done < bytes.byteCount {
            let (number, start) = Self.locate(offset + UInt64(done))
            let count = min(bytes.byteCount - done, Self.pageByteCount - start)
            let source = bytes.extracting(done..<done + count)
            if count == Self.pageByteCount {
                pages[number] = AlignedBuffer(copying: source)
            } else {
                try changePage(number, over: base) { $0.copyBytes(from: source, at: start) }
            }
            done += count
        }
    }

    mutating func resize(
        from oldByteCount: UInt64, to byteCount: UInt64, over base: any BlockDevice
    ) throws(BlockDeviceError) {
        if byteCount >= oldByteCount { return }
        let (number, start) = Self.locate(byteCount)
        if start > 0 {
            try changePage(number, over: base) { $0.zero(start..<Self.pageByteCount) }
        }
        pages = pages.filter { $0.key < number || ($0.key == number && start > 0) }
        baseLimit = min(baseLimit, byteCount)
    }

    private mutating func changePage(
        _ number: UInt64, over base: any BlockDevice, _ change: (AlignedBuffer) -> Void
    ) throws(BlockDeviceError) {
        // Taken out, so that the reference here is the only one unless a copy of the map has another.
        guard var page = pages.removeValue(forKey: number) else {
            let page = try basePage(number, base)
            change(page)
            pages[number] = page
            return
        }
        if !isKnownUniquelyReferenced(&page) { page = AlignedBuffer(copying: page.bytes) }
        change(page)
        pages[number] = page
    }

    /// A page as the base has it, zeros where the base has ended.
    private func basePage(_ number: UInt64, _ base: any BlockDevice) throws(BlockDeviceError) -> AlignedBuffer {
        let page = AlignedBuffer(byteCount: Self.pageByteCount)
        let start = number * UInt64(Self.pageByteCount)
        let limit = min(base.byteCount, baseLimit)
        if start < limit {
            let count = Int(min(UInt64(Self.pageByteCount), limit - start))
            try base.read(at: start, into: page, 0..<count)
        }
        return page
    }

    private static func locate(_ offset: UInt64) -> (number: UInt64, start: Int) {
        (offset / UInt64(pageByteCount), Int(offset % UInt64(pageByteCount)))
    }
}

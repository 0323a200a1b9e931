import Platform

/// GUID partition table: UEFI specification 2.10, section 5.3.
///
///     header (sector 1, backup in the last sector): 0 "EFI PART", 12 header size, 16 CRC, 24 own sector,
///         72 first sector of the entries, 80 number of entries, 84 bytes per entry, 88 CRC of the entries
///     entry: 0 type, 16 id, 32 first sector, 40 last sector, 48 flags, 56 name (36 UTF-16 units)
enum GUIDPartitionTable {
    private static let signature: UInt64 = 0x5452_4150_2049_4645
    private static let maximumEntryCount = 1024

    /// The partitions; nil if there is no valid table with sectors of that size.
    static func read(
        _ device: any BlockDevice, sectorByteCount: UInt64
    ) throws(BlockDeviceError) -> [Partition]? {
        if let partitions = try read(device, sectorByteCount, headerSector: 1) { return partitions }
        let sectors = device.byteCount / sectorByteCount
        return sectors > 2 ? try read(device, sectorByteCount, headerSector: sectors - 1) : nil
    }

    private static func read(
        _ device: any BlockDevice, _ sectorByteCount: UInt64, headerSector: UInt64
    ) throws(BlockDeviceError) -> [Partition]? {
        guard
            let header = try device.readIfInside(
                at: headerSector * sectorByteCount, count: Int(sectorByteCount)),
            header.bytes.loadLittleEndian(0, as: UInt64.self) == signature,
            let headerByteCount = header.bytes.loadLittleEndian(12, as: UInt32.self).map(Int.init),
            (92...Int(sectorByteCount)).contains(headerByteCount),
            let headerChecksum = header.bytes.loadLittleEndian(16, as: UInt32.self),
            header.bytes.loadLittleEndian(24, as: UInt64.self) == headerSector,
            let entriesSector = header.bytes.loadLittleEndian(72, as: UInt64.self),
            let entryCount = header.bytes.loadLittleEndian(80, as: UInt32.self).map(Int.init),
            let entryByteCount = header.bytes.loadLittleEndian(84, as: UInt32.self).map(Int.init),
            let entriesChecksum = header.bytes.loadLittleEndian(88, as: UInt32.self),
            entryCount <= maximumEntryCount, (128...4096).contains(entryByteCount)
        else { return nil }
        header.zero(16..<20)
        guard CRC32.checksum(header.bytes(0..<headerByteCount)) == headerChecksum else { return nil }
        let (entriesOffset, overflow) = entriesSector.multipliedReportingOverflow(by: sectorByteCount)
        guard !overflow,
            let entries = try device.readIfInside(at: entriesOffset, count: entryCount * entryByteCount),
            CRC32.checksum(entries.bytes) == entriesChecksum
        else { return nil }
        var partitions: [Partition] = []
        for index in 0..<entryCount {
            let start = index * entryByteCount
            let entry = entries.bytes(start..<start + entryByteCount)
            if let partition = decode(entry, number: index + 1, sectorByteCount, device.byteCount) {
                partitions.append(partition)
            }
        }
        return partitions
    }

    private static func decode(
        _ entry: RawSpan, number: Int, _ sectorByteCount: UInt64, _ deviceByteCount: UInt64
    ) -> Partition? {
        guard let low = entry.loadLittleEndian(0, as: UInt64.self),
            let high = entry.loadLittleEndian(8, as: UInt64.self), low != 0 || high != 0,
            let first = entry.loadLittleEndian(32, as: UInt64.self),
            let last = entry.loadLittleEndian(40, as: UInt64.self),
            first <= last, last < deviceByteCount / sectorByteCount
        else { return nil }
        var units: [UInt16] = []
        for index in 0..<36 {
            guard let unit = entry.loadLittleEndian(56 + index * 2, as: UInt16.self), unit != 0 else { break }
            units.append(unit)
        }
        return Partition(
            scheme: .gpt, number: number, offset: first * sectorByteCount,
            byteCount: (last - first + 1) * sectorByteCount, type: spell(low, high),
            name: String(decoding: units, as: UTF16.self))
    }

    /// The usual spelling: the first three groups are little-endian numbers, the rest is bytes.
    private static func spell(_ low: UInt64, _ high: UInt64) -> String {
        func hexadecimal(_ number: UInt64, digits: Int) -> String {
            let text = String(number, radix: 16, uppercase: true)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        let rest = hexadecimal(high.byteSwapped, digits: 16)
        return [
            hexadecimal(low & 0xFFFF_FFFF, digits: 8), hexadecimal((low >> 32) & 0xFFFF, digits: 4),
            hexadecimal(low >> 48, digits: 4), String(rest.prefix(4)), String(rest.dropFirst(4)),
        ].joined(separator: "-")
    }
}

/// CRC-32 as GPT uses it: reflected, polynomial 0x04C11DB7.
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        var value = UInt32(index)
        for _ in 0..<8 { value = (value >> 1) ^ (value & 1 == 1 ? 0xEDB8_8320 : 0) }
        return value
    }

    static func checksum(_ bytes: RawSpan) -> UInt32 {
        let table = table
        var value: UInt32 = .max
        for index in 0..<bytes.byteCount {
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            value = (value >> 8) ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)]
        }
        return ~value
    }
}

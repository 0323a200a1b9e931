import Platform
import TestSupport
import Testing

@testable import BlockDevice

/// Builds a disk with a GPT, in memory.
private struct TableBuilder {
    let sector: Int
    var disk: [UInt8]

    init(sector: Int, sectors: Int) {
        self.sector = sector
        disk = [UInt8](repeating: 0, count: sector * sectors)
    }

    mutating func put<Number: FixedWidthInteger>(_ value: Number, at offset: Int) {
        for byte in 0..<Number.bitWidth / 8 {
            disk[offset + byte] = UInt8(truncatingIfNeeded: value >> Number(byte * 8))
        }
    }

    mutating func addTable(headerSector: Int, entriesSector: Int, partitions: [(first: UInt64, last: UInt64)]) {
        let entries = entriesSector * sector
        for (index, partition) in partitions.enumerated() {
            let start = entries + index * 128
            put(UInt64(0x1122_3344_5566_7788), at: start)
            put(UInt64(index + 1), at: start + 8)
            put(partition.first, at: start + 32)
            put(partition.last, at: start + 40)
            for (place, unit) in "Teil \(index)".utf16.enumerated() { put(unit, at: start + 56 + place * 2) }
        }
        let header = headerSector * sector
        put(UInt64(0x5452_4150_2049_4645), at: header)
        put(UInt32(0x10000), at: header + 8)
        put(UInt32(92), at: header + 12)
        put(UInt64(headerSector), at: header + 24)
        put(UInt64(entriesSector), at: header + 72)
        put(UInt32(8), at: header + 80)
        put(UInt32(128), at: header + 84)
        let span = AlignedBuffer(copying: unsafe disk.span.bytes)
        put(CRC32.checksum(span.bytes(entries..<entries + 1024)), at: header + 88)
        let again = AlignedBuffer(copying: unsafe disk.span.bytes)
        put(CRC32.checksum(again.bytes(header..<header + 92)), at: header + 16)
    }
}

@Suite struct PartitionTableTests {
    @Test func checksumIsTheUsualOne() {
        let text = Array("123456789".utf8)
        #expect(CRC32.checksum(unsafe text.span.bytes) == 0xCBF4_3926)
    }

    @Test(arguments: [512, 4096])
    func partitionsOfAGPT(_ sector: Int) throws {
        var builder = TableBuilder(sector: sector, sectors: 400)
        builder.addTable(headerSector: 1, entriesSector: 2, partitions: [(40, 99), (100, 300), (350, 400)])
        let found = try PartitionTable.read(MemoryDevice(contents: builder.disk))
        // The third one ends behind the disk.
        #expect(found.map(\.number) == [1, 2])
        #expect(found.map(\.offset) == [UInt64(40 * sector), UInt64(100 * sector)])
        #expect(found.map(\.byteCount) == [UInt64(60 * sector), UInt64(201 * sector)])
        #expect(found.map(\.name) == ["Teil 0", "Teil 1"])
        #expect(found.first?.type == "55667788-3344-1122-0100-000000000000")
    }

    @Test func backupReplacesADamagedTable() throws {
        var builder = TableBuilder(sector: 512, sectors: 400)
        builder.addTable(headerSector: 1, entriesSector: 2, partitions: [(40, 99)])
        builder.addTable(headerSector: 399, entriesSector: 390, partitions: [(40, 99), (100, 110)])
        builder.disk[512 + 40] ^= 1
        #expect(try PartitionTable.read(MemoryDevice(contents: builder.disk)).count == 2)
    }

    @Test func logicalPartitionsOfAnMBR() throws {
        var builder = TableBuilder(sector: 512, sectors: 1000)
        func entry(_ record: Int, _ index: Int, _ type: UInt8, _ first: UInt32, _ count: UInt32) {
            let start = record * 512 + 446 + index * 16
            builder.disk[start + 4] = type
            builder.put(first, at: start + 8)
            builder.put(count, at: start + 12)
            builder.put(UInt16(0xAA55), at: record * 512 + 510)
        }
        entry(0, 0, 0x83, 10, 90)
        entry(0, 2, 0x0F, 200, 700)
        entry(200, 0, 0x83, 5, 50)
        entry(200, 1, 0x05, 100, 100)
        entry(300, 0, 0x83, 5, 40)
        // The chain bites its tail.
        entry(300, 1, 0x05, 0, 100)
        let found = try PartitionTable.read(MemoryDevice(contents: builder.disk))
        #expect(found.map(\.number) == [1, 5, 6])
        #expect(found.map(\.offset) == [5120, 104_960, 156_160])
        #expect(found.map(\.scheme) == [.mbr, .mbr, .mbr])
    }

    @Test func hostileTablesNeverTrap() throws {
        let seed: UInt64 = 5
        var generator = SeededGenerator(seed: seed)
        for round in 0..<3000 {
            var builder = TableBuilder(sector: 512, sectors: 64)
            for _ in 0..<40 {
                builder.put(
                    UInt64.random(in: 0...UInt64.max, using: &generator)
                        >> UInt64.random(in: 0..<64, using: &generator),
                    at: Int.random(in: 440..<2000, using: &generator))
            }
            builder.put(UInt16(0xAA55), at: 510)
            if round % 2 == 0 {
                let first = UInt64.random(in: 0...UInt64.max, using: &generator)
                builder.addTable(headerSector: 1, entriesSector: 2, partitions: [(first, first &+ 5), (0, .max)])
                if round % 4 == 0 {
                    builder.put(UInt32.random(in: 0...UInt32.max, using: &generator), at: 512 + 80)
                    let buffer = AlignedBuffer(copying: unsafe builder.disk.span.bytes)
                    buffer.zero(528..<532)
                    builder.put(CRC32.checksum(buffer.bytes(512..<604)), at: 528)
                }
            }
            let device = MemoryDevice(contents: builder.disk)
            for partition in try PartitionTable.read(device) {
                _ = try SubrangeDevice(device, offset: partition.offset, byteCount: partition.byteCount)
            }
        }
        for count in [0, 1, 511, 512, 513, 1024, 4096] {
            #expect(try PartitionTable.read(MemoryDevice(byteCount: count)).isEmpty)
        }
    }
}

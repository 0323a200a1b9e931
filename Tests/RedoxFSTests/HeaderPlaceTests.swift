import BlockDevice
import DiskFormat
import Testing

@testable import RedoxFS

/// A file system that is opened again is found from where its newest header was the last time, without a search of the ring, and is
/// the same that a search finds.
@Suite struct HeaderPlaceTests {
    private func makeCommits(_ count: Int, _ system: FileSystem) throws {
        for number in 0..<count {
            var context = Engine.context
            try system.create(.root, "\(number) of generation \(system.headerPlace.generation.rawValue)", &context)
            try system.commit()
        }
    }

    /// Opens with the place; what was read, and what a search finds.
    private func open(
        _ device: any BlockDevice, _ place: HeaderPlace
    ) throws -> (read: UInt64, found: HeaderPlace, expected: HeaderPlace) {
        let counting = SimulatedDevice(over: device, recordsWrites: false)
        var options = OpenOptions()
        options.lastHeader = place
        let found = try FileSystem(opening: counting, options: options).headerPlace
        return (counting.counts.bytesRead, found, try FileSystem(opening: device).headerPlace)
    }

    private static let ringBytes = Limits.ringBlocks * UInt64(Limits.blockSize)

    @Test(arguments: [0, 1, 3, 4, 5, 200, 255]) func newestIsFollowed(commits: Int) throws {
        // Across the end of the ring, too.
        for before in [1, 250] {
            let (device, system) = try Engine.make()
            try makeCommits(before, system)
            let place = system.headerPlace
            try makeCommits(commits, system)
            let (read, found, expected) = try open(device, place)
            #expect(found == expected)
            #expect(found.generation.rawValue == place.generation.rawValue + UInt64(commits))
            if commits < 100 { #expect(read < Self.ringBytes / 4) }
        }
    }

    @Test func placesThatAreWrongAreSearchedFor() throws {
        let (device, system) = try Engine.make()
        try makeCommits(2, system)
        let old = system.headerPlace
        try makeCommits(300, system)
        var stranger = system.headerPlace
        stranger.uuid = Bytes16(low: 7, high: 7)
        var elsewhere = system.headerPlace
        elsewhere.start = 100
        var outside = system.headerPlace
        outside.start = .max - 5
        var future = system.headerPlace
        future.generation = Generation(.max)
        for place in [old, stranger, elsewhere, outside, future] {
            let (_, found, expected) = try open(device, place)
            #expect(found == expected && found.generation == system.headerPlace.generation, "\(place)")
        }
    }

    /// A generation that is asked for is not the newest.
    @Test func generationsAreSearchedFor() throws {
        let (device, system) = try Engine.make()
        try makeCommits(5, system)
        var options = OpenOptions()
        options.lastHeader = system.headerPlace
        options.generation = Generation(system.headerPlace.generation.rawValue - 2)
        #expect(try FileSystem(opening: device, options: options).openedGeneration == options.generation)
    }

    /// The whole ring is one read.
    @Test func aSearchIsOneRead() throws {
        let (device, system) = try Engine.make()
        try makeCommits(1, system)
        let counting = SimulatedDevice(over: device, recordsWrites: false)
        _ = try HeaderSearch.find(counting, OpenOptions())
        #expect(counting.counts.reads == 1)
    }
}

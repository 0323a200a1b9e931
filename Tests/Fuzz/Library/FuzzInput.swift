import DiskFormat
import Platform
import TestSupport

/// One input of the fuzzer. The first byte says what the others are: 255 a block for the decoders, else choices of a mutator
/// over the image of that number.
public enum FuzzInput {
    /// The images, in the order of their numbers: small ones, as each input is a new file system.
    public static let images: [GoldenImage] = [
        .empty, .smallTree, .truncateResidue, .reserved, .unclean, .sparse, .full,
    ]
    /// Changes made to an image at most.
    public static let maximumChanges = 8

    private static let surgeons = Locked<[GoldenImage: ImageSurgeon]>([:])

    /// Runs an input; what broke a promise.
    public static func run(_ bytes: [UInt8]) throws -> [String] {
        guard let kind = bytes.first else { return [] }
        let rest = Array(bytes.dropFirst())
        if kind == 255 {
            BlockExerciser.decode(rest)
            let block = Array((rest + [UInt8](repeating: 0, count: max(0, 4096 - rest.count))).prefix(4096))
            BlockExerciser.decodeWhole(block)
            return []
        }
        let image = images[Int(kind) % images.count]
        var mutator = ImageMutator(try surgeon(image), Choices(bytes: rest))
        try mutator.mutate(times: maximumChanges)
        var exerciser = ImageExerciser(try mutator.surgeon.device())
        exerciser.run()
        return exerciser.outcome.faults.map { "\(image): \($0); after: \(mutator.history.joined(separator: "; "))" }
    }

    /// Taking an image apart takes longer than damaging it: once is enough.
    private static func surgeon(_ image: GoldenImage) throws -> ImageSurgeon {
        if let known = surgeons.withLock({ $0[image] }) { return known }
        guard let made = try ImageSurgeon(try image.device(isWritable: false)) else { throw NoHeader(image: image) }
        surgeons.withLock { $0[image] = made }
        return made
    }

    /// A golden image without a valid header.
    struct NoHeader: Error {
        let image: GoldenImage
    }
}

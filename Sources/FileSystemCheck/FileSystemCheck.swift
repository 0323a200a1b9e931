import BlockDevice
import DiskFormat

/// Checks and repairs RedoxFS images and looks into them, without any code of the engine that writes them.
public enum FileSystemCheck {
    /// Holds the newest generation of a file system, or the one that the options name, against every rule of the format.
    ///
    /// Nothing is written. Faults of the image are findings of the report, not errors.
    ///
    /// - Throws: `CheckError` if there is no file system, it can't be unlocked, or has no such generation.
    public static func check(
        _ device: any BlockDevice, _ options: CheckOptions = CheckOptions()
    ) throws(CheckError) -> CheckReport {
        let image = try OpenedImage(device, password: options.password)
        let header = try image.header(of: options.generation)
        let checker = run(image, header, options)
        return report(checker, image, header, options)
    }

    /// One pass over a generation.
    static func run(_ image: OpenedImage, _ header: Header, _ options: CheckOptions) -> Checker {
        var checker = Checker(reader: image.reader(of: header), roots: Roots(header), options: options)
        checker.checkRing(image, header)
        checker.run()
        return checker
    }

    /// The report of a pass, with the newest whole generation if the checked one has lost metadata.
    static func report(
        _ checker: Checker, _ image: OpenedImage, _ header: Header, _ options: CheckOptions
    ) -> CheckReport {
        var report = checker.report(in: header.generation)
        guard options.searchesWholeGeneration, report.hasLostMetadata,
            let whole = newestWhole(image, before: header.generation, options)
        else { return report }
        report.wholeGeneration = whole.generation
        report.changesSinceWhole = GenerationDifference(image, whole, header).changes()
        let changes = report.changesSinceWhole
        var list = changes.prefix(8).map { "\($0.kind.rawValue) \($0.path)" }.joined(separator: ", ")
        if changes.count > 8 {
            list += " and \(changes.count - 8) more"
        }
        let finding = Finding(
            .generationNotWhole, block: header.generation.ringBlock,
            detail:
                "generation \(header.generation) has lost metadata; the newest that is whole is \(whole.generation). "
                + (changes.isEmpty ? "Nothing else is known to differ" : "Since then: \(list)"))
        report.findings.append(finding)
        report.counts[.generationNotWhole, default: 0] += 1
        return report
    }

    /// The newest generation before another one whose metadata can be read in full.
    static func newestWhole(
        _ image: OpenedImage, before generation: Generation, _ options: CheckOptions
    ) -> Header? {
        var quick = options
        quick.verifyData = false
        quick.maximumFindings = 0
        quick.progress = nil
        for header in image.headers where header.generation < generation {
            let checker = run(image, header, quick)
            if !checker.report(in: header.generation).hasLostMetadata { return header }
        }
        return nil
    }
}

extension CheckReport {
    /// Whether metadata of the generation can't be read.
    public var hasLostMetadata: Bool { counts.keys.contains { $0.isLossOfMetadata } }
}

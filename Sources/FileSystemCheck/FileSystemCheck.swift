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

    /// The report of a pass, with the generation to go back to if the checked one has lost metadata.
    static func report(
        _ checker: Checker, _ image: OpenedImage, _ header: Header, _ options: CheckOptions
    ) -> CheckReport {
        var report = checker.report(in: header.generation)
        guard options.searchesWholeGeneration, report.hasLostMetadata,
            let fallback = Fallback.search(image, before: header, checker, options)
        else { return report }
        let generation = fallback.header.generation
        if fallback.isWhole {
            report.wholeGeneration = generation
        } else {
            report.fullerGeneration = generation
        }
        report.changesSinceWhole = GenerationDifference(image, fallback.header, header).changes()
        let changes = report.changesSinceWhole
        var list = changes.prefix(8).map { "\($0.kind.rawValue) \($0.path)" }.joined(separator: ", ")
        if changes.count > 8 {
            list += " and \(changes.count - 8) more"
        }
        let other =
            fallback.isWhole
            ? "the newest that is whole is \(generation)" : "none is whole, and more is left of \(generation)"
        let finding = Finding(
            .generationNotWhole, block: header.generation.ringBlock,
            detail: "generation \(header.generation) has lost metadata; \(other). "
                + (changes.isEmpty ? "Nothing else is known to differ" : "Since then: \(list)"))
        report.findings.append(finding)
        report.counts[.generationNotWhole, default: 0] += 1
        return report
    }
}

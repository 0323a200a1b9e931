import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import RedoxFS
import TestSupport

/// Does with an image what users do, whatever the image is, and bounds the work rather than the time: a device that is asked
/// for more than its size justifies fails, and says so.
public struct ImageExerciser {
    /// What came of it: how often something worked, and what must not be.
    public struct Outcome: Sendable {
        /// Nodes that could be looked at.
        public var nodes = 0
        /// Bytes that could be read.
        public var bytes = 0
        /// Errors that were reported as values.
        public var errors = 0
        /// The first of them.
        public var firstError: String?
        /// Whether a repair succeeded.
        public var isRepaired = false
        /// The first fault that remained, for each repair that was refused because of it.
        public var unrepaired: [String] = []
        /// What broke a promise.
        public var faults: [String] = []

        /// Nothing yet.
        public init() {}
    }

    private let image: OverlayDevice
    private let password: [UInt8]?
    /// The outcome so far.
    public private(set) var outcome = Outcome()

    /// - Parameter image: never written; changes go to overlays.
    public init(_ image: OverlayDevice, password: [UInt8]? = nil) {
        self.image = image
        self.password = password
    }

    /// Everything, one after the other.
    public mutating func run() {
        read()
        change()
        check()
        inspect()
        repair()
    }

    /// A fresh copy of the image that counts what is asked of it.
    private func device() -> BoundedDevice { BoundedDevice(OverlayDevice(over: image)) }

    private mutating func finish(_ device: BoundedDevice, _ what: String) {
        if device.isExhausted { outcome.faults.append("\(what): more I/O than the image's size justifies") }
    }

    private func options(readOnly: Bool) -> OpenOptions {
        var options = OpenOptions()
        options.readOnly = readOnly
        options.password = password
        options.cacheBytes = 8 << 20
        options.dirtyBytes = 8 << 20
        return options
    }

    private mutating func note(_ error: any Error) {
        outcome.errors += 1
        if outcome.firstError == nil { outcome.firstError = "\(error)" }
    }

    // MARK: The engine

    /// Opens read-only and looks at everything, up to bounds.
    public mutating func read() {
        let device = device()
        do {
            let system = try FileSystem(opening: device, options: options(readOnly: true))
            walk(system)
            _ = system.statistics()
            try system.close()
        } catch {
            note(error)
        }
        finish(device, "reading")
    }

    private mutating func walk(_ system: FileSystem) {
        var queue: [NodeID] = [.root]
        var seen: Set<NodeID> = [.root]
        var next = 0
        while next < queue.count, next < 200 {
            let node = queue[next]
            next += 1
            for entry in look(system, node) where seen.insert(entry.node).inserted { queue.append(entry.node) }
        }
    }

    /// Looks at one node; its entries if it is a directory.
    private mutating func look(_ system: FileSystem, _ node: NodeID) -> [DirectoryEntry] {
        do {
            let attributes = try system.attributes(node)
            outcome.nodes += 1
            for name in try system.listExtendedAttributes(node) { _ = try system.extendedAttribute(node, name) }
            switch attributes.kind {
            case .directory:
                var entries: [DirectoryEntry] = []
                try system.readDirectory(node, from: .start) { entry in
                    entries.append(entry)
                    return entries.count < 2000
                }
                for entry in entries.prefix(50) { _ = try system.lookup(node, entry.name.rawBytes) }
                if node != .root { _ = try system.parent(of: node) }
                return entries
            case .symbolicLink: outcome.bytes += try system.readSymbolicLink(node).count
            case .file:
                // The start, the middle and the end; what lies between may be 40 TB.
                for offset in [0, attributes.size / 2, attributes.size &- min(attributes.size, 70000)] {
                    outcome.bytes += try system.read(node, at: offset, count: 70000).count
                }
                do {
                    _ = try system.seek(node, from: 0, .hole)
                    _ = try system.seek(node, from: attributes.size / 2, .data)
                } catch FileSystemError.noData {
                    // An empty file, or holes up to the end.
                }
            default: break
            }
        } catch {
            note(error)
        }
        return []
    }

    /// Opens for writing and changes things all over the tree.
    public mutating func change() {
        let device = device()
        do {
            let system = try FileSystem(opening: device, options: options(readOnly: false))
            var context = RequestContext(time: Timespec(seconds: 1_800_000_000))
            attempt { try Self.changeRoot(system, &context) }
            let names = (try? system.entries(of: .root, limit: 40)) ?? []
            for entry in names { attempt { try Self.change(system, entry, &context) } }
            _ = try system.commit()
            for entry in names { attempt { try system.unlink(.root, entry.name.rawBytes, &context) } }
            for entry in names { attempt { try system.removeDirectory(.root, entry.name.rawBytes, &context) } }
            try system.close()
        } catch {
            note(error)
        }
        finish(device, "changing")
    }

    private static func changeRoot(_ system: FileSystem, _ context: inout RequestContext) throws {
        let file = try system.create(.root, "fuzz-file", kind: .file, mode: 0o644, &context).node
        try system.write(file, at: 0, noise(200_000, seed: 1), &context)
        _ = try system.create(.root, "fuzz-directory", kind: .directory, mode: 0o755, &context)
        let value: [UInt8] = [1, 2, 3]
        try system.setExtendedAttribute(file, Array("user.fuzz".utf8), value.rawBytes, &context)
        _ = try system.commit()
    }

    private static func change(_ system: FileSystem, _ entry: DirectoryEntry, _ context: inout RequestContext) throws {
        let attributes = try system.attributes(entry.node)
        let value: [UInt8] = Array(repeating: 7, count: 300)
        try system.setExtendedAttribute(entry.node, Array("user.fuzz".utf8), value.rawBytes, &context)
        switch attributes.kind {
        case .directory:
            _ = try system.create(entry.node, "fuzz", kind: .file, mode: 0o600, &context)
            for inner in try system.entries(of: entry.node, limit: 5) where inner.kind == .file {
                try system.unlink(entry.node, inner.name.rawBytes, &context)
            }
        case .file:
            try system.write(entry.node, at: attributes.size / 2, noise(5000, seed: 2), &context)
            try system.setAttributes(entry.node, AttributeChanges(size: attributes.size / 3), &context)
        default: break
        }
        var name = entry.name.prefix(200)
        name.append(0x7E)
        let target = try system.resolve("fuzz-directory").node
        try system.rename(.root, entry.name.rawBytes, target, Array(name).rawBytes, flags: [], &context)
    }

    private mutating func attempt(_ body: () throws -> Void) {
        do { try body() } catch { note(error) }
    }

    // MARK: The checker

    private func checkOptions(verifyData: Bool) -> CheckOptions {
        CheckOptions(password: password, verifyData: verifyData, threads: 1, maximumFindings: 100)
    }

    /// Checks everything; the report, if there is a file system.
    @discardableResult
    public mutating func check() -> CheckReport? {
        let device = device()
        defer { finish(device, "checking") }
        do {
            return try FileSystemCheck.check(device, checkOptions(verifyData: true))
        } catch {
            note(error)
            return nil
        }
    }

    /// Prints what there is to print.
    public mutating func inspect() {
        let device = device()
        defer { finish(device, "inspecting") }
        do {
            let inspector = try Inspector(device, checkOptions(verifyData: false))
            var printed = inspector.printedHeader().text.count + inspector.printedTree().json.count
            printed += inspector.usage().printed.text.count + inspector.map(width: 64, maximumRows: 64).cells.count
            outcome.nodes += printed > 0 ? 1 : 0
            attempt { _ = try inspector.printedLog().json }
            for node: UInt32 in [1, 2, 3, 4] { attempt { _ = try inspector.printedNode(node).text } }
            for block: UInt64 in [0, 257, 300] { attempt { _ = try inspector.printedBlock(block).text } }
        } catch {
            note(error)
        }
    }

    /// A repair takes the newest generation that is whole, and keeps all nodes of what it takes but those that wait for their
    /// deletion.
    private mutating func compare(_ report: RepairReport) {
        var options = checkOptions(verifyData: false)
        options.searchesWholeGeneration = false
        options.generation = report.source
        guard let source = try? FileSystemCheck.check(image, options) else { return }
        if report.after.nodes + UInt64(source.releasedNodes.count) < source.nodes {
            outcome.faults.append("a repair kept \(report.after.nodes) of \(source.nodes) nodes")
        }
        guard report.before.hasLostMetadata,
            let generations = try? FileSystemCheck.history(image, checkOptions(verifyData: false))
        else { return }
        let isFuller = report.before.fullerGeneration == report.source
        for summary in generations where summary.hasWholeMetadata && summary.generation < report.before.generation {
            options.generation = summary.generation
            guard isFuller || summary.generation > report.source || report.source == report.before.generation,
                let whole = try? FileSystemCheck.check(image, options), whole.isConsistent
            else { continue }
            outcome.faults.append("generation \(summary.generation) is whole, a repair took \(report.source)")
            return
        }
    }

    /// Repairs, with and without going back to an older generation. After a repair a second check finds nothing wrong and
    /// the engine can use the image.
    public mutating func repair() {
        for fallsBack in [true, false] {
            let device = device()
            do {
                let options = RepairOptions(fallsBack: fallsBack, time: Timespec(seconds: 1_800_000_000))
                let report = try FileSystemCheck.repair(device, checkOptions(verifyData: true), options)
                outcome.isRepaired = true
                if fallsBack { compare(report) }
                let again = try FileSystemCheck.check(device, checkOptions(verifyData: true))
                if !again.isConsistent || again.count(of: .leak) > 0 {
                    let first = again.findings.first.map { "\($0)" } ?? "nothing listed"
                    outcome.faults.append("a check after the repair finds: \(first)")
                }
                let system = try FileSystem(opening: device, options: self.options(readOnly: false))
                var context = RequestContext(time: Timespec(seconds: 1_800_000_001))
                if system.statistics().availableBlocks > 200 {
                    _ = try system.create(.root, "after-repair", kind: .file, mode: 0o600, &context)
                }
                try system.close()
            } catch let error as CheckError {
                note(error)
                if case .notRepairable(let remaining) = error {
                    outcome.unrepaired += remaining.prefix(1).map { "\($0)" }
                }
            } catch {
                outcome.faults.append("the engine can't use the repaired image: \(error)")
            }
            finish(device, "repairing")
        }
    }
}

extension FileSystem {
    /// The first entries of a directory.
    func entries(of directory: NodeID, limit: Int) throws(FileSystemError) -> [DirectoryEntry] {
        var result: [DirectoryEntry] = []
        try readDirectory(directory, from: .start) { entry in
            result.append(entry)
            return result.count < limit
        }
        return result
    }
}

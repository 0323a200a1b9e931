import BlockDevice
import DiskFormat
import FileSystemCheck
import Glibc
import TestSupport
import Testing

@testable import RedoxFS

/// Random operations on a few files and directories, against a model of dictionaries and arrays.
private struct Model {
    struct File {
        var node: NodeID
        var bytes: [UInt8]
        var names: Int
        var attributes: [[UInt8]: [UInt8]] = [:]
    }

    /// Entries by directory and name; what a name leads to.
    var entries: [NodeID: [String: NodeID]] = [.root: [:]]
    var files: [NodeID: File] = [:]
    var parents: [NodeID: NodeID] = [:]
}

@Suite struct Operations {
    /// - Parameters: size of the image in MiB, bytes that may be dirty, number of operations.
    @Test(arguments: [(3, 64 << 20, 1500), (12, 1 << 20, 2500), (64, 4 << 20, 1500)])
    func randomOperations(_ size: Int, _ dirty: Int, _ count: Int) throws {
        // A run is repeated with its seed in SALTBRIDGE_SEED.
        let given = unsafe getenv("SALTBRIDGE_SEED").flatMap { unsafe UInt64(String(cString: $0)) }
        let seed = given ?? UInt64.random(in: 0...UInt64.max)
        print("seed \(seed) for \(size) MiB")
        try run(size: size, dirty: dirty, count: count, seed: seed)
    }

    private func run(size: Int, dirty: Int, count: Int, seed: UInt64) throws {
        var generator = SplitMix(seed: seed)
        var options = OpenOptions()
        options.dirtyBytes = dirty
        options.cacheBytes = 2 << 20
        let device = MemoryDevice(byteCount: size << 20)
        try Engine.format(device)
        var system = try FileSystem(opening: device, options: options)
        var model = Model()
        var time: Int64 = 0
        var full = 0
        for step in 0..<count {
            time += 1
            var context = RequestContext(time: Timespec(seconds: time))
            do {
                try operate(&model, system, &generator, &context)
            } catch FileSystemError.noSpace {
                full += 1
            } catch {
                Issue.record("seed \(seed) step \(step): \(error)")
                return
            }
            if step % 20 == 0 { #expect(system.brokenInvariant() == nil, "seed \(seed) step \(step)") }
            if Int.random(in: 0..<60, using: &generator) == 0 {
                try system.commit()
                try Engine.expectClean(device, "seed \(seed) step \(step)")
            }
            if Int.random(in: 0..<400, using: &generator) == 0 {
                try system.close()
                try Engine.expectClean(device, "seed \(seed) step \(step) closed")
                system = try FileSystem(opening: device, options: options)
                try compare(model, system, "seed \(seed) step \(step)")
            }
        }
        try compare(model, system, "seed \(seed) end")
        try system.close()
        try Engine.expectClean(device, "seed \(seed) end")
        system = try FileSystem(opening: device, options: options)
        try compare(model, system, "seed \(seed) reopened")
        print("\(size) MiB: \(full) of \(count) without space")
        // Emptied, everything is free again.
        var context = RequestContext(time: Timespec(seconds: time))
        try empty(.root, system, &context)
        try system.close()
        try Engine.expectClean(device, "seed \(seed) emptied")
    }

    private func empty(_ directory: NodeID, _ system: FileSystem, _ context: inout RequestContext) throws {
        for entry in try system.entries(of: directory) {
            let name = String(decoding: entry.name, as: UTF8.self)
            if entry.kind == .directory {
                try empty(entry.node, system, &context)
                try system.removeDirectory(directory, name, &context)
            } else {
                try system.unlink(directory, name, &context)
            }
        }
    }

    private func operate(
        _ model: inout Model, _ system: FileSystem, _ generator: inout SplitMix, _ context: inout RequestContext
    ) throws {
        guard let directory = model.entries.keys.sorted().randomElement(using: &generator) else { return }
        let file = model.files.keys.sorted().randomElement(using: &generator)
        let name = "name \(Int.random(in: 0..<40, using: &generator))"
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<12:
            if model.entries[directory]?[name] != nil {
                #expect(throws: FileSystemError.exists) {
                    var context = context
                    try system.create(directory, name, &context)
                }
                return
            }
            let node = try system.create(directory, name, &context).node
            model.entries[directory]?[name] = node
            model.files[node] = Model.File(node: node, bytes: [], names: 1)
        case 12..<15:
            guard model.entries[directory]?[name] == nil else { return }
            let node = try system.create(directory, name, kind: .directory, mode: 0o755, &context).node
            model.entries[directory]?[name] = node
            model.entries[node] = [:]
            model.parents[node] = directory
        case 15..<18:
            guard let file, model.entries[directory]?[name] == nil else { return }
            try system.link(file, directory, name, &context)
            model.entries[directory]?[name] = file
            model.files[file]?.names += 1
        case 18..<27: try remove(&model, system, directory, name, &context)
        case 27..<35: try rename(&model, system, directory, name, &generator, &context)
        case 35..<75:
            guard let file else { return }
            try write(&model, system, file, &generator, &context)
        case 75..<83:
            guard let file else { return }
            let size = Int.random(in: 0..<600_000, using: &generator) >> Int.random(in: 0..<8, using: &generator)
            try system.setAttributes(file, AttributeChanges(size: UInt64(size)), &context)
            resize(&model, file, size)
        case 83..<88:
            guard let file, let old = model.files[file]?.bytes, !old.isEmpty else { return }
            let start = Int.random(in: 0..<old.count, using: &generator)
            let length = Int.random(in: 1..<400_000, using: &generator)
            try system.allocate(file, mode: .punchHole, at: UInt64(start), length: UInt64(length), &context)
            for index in start..<min(old.count, start + length) { model.files[file]?.bytes[index] = 0 }
        case 88..<95:
            guard let file else { return }
            let key = Array("user.\(Int.random(in: 0..<20, using: &generator))".utf8)
            if Int.random(in: 0..<4, using: &generator) == 0 {
                guard model.files[file]?.attributes[key] != nil else { return }
                try system.removeExtendedAttribute(file, key, &context)
                model.files[file]?.attributes[key] = nil
            } else {
                let length = Int.random(in: 0..<65_537, using: &generator) >> Int.random(in: 0..<16, using: &generator)
                let value = Engine.bytes(length, seed: generator.next())
                try system.setExtendedAttribute(file, key, value.rawBytes, &context)
                model.files[file]?.attributes[key] = value
            }
        default:
            guard let file, let bytes = model.files[file]?.bytes else { return }
            let start = Int.random(in: 0...bytes.count, using: &generator)
            let end = min(bytes.count, start + Int.random(in: 0..<300_000, using: &generator))
            let read = try system.read(file, at: UInt64(start), count: end - start)
            #expect(read == Array(bytes[start..<end]))
        }
    }

    private func remove(
        _ model: inout Model, _ system: FileSystem, _ directory: NodeID, _ name: String,
        _ context: inout RequestContext
    ) throws {
        guard let node = model.entries[directory]?[name] else {
            #expect(throws: FileSystemError.notFound) {
                var context = context
                try system.unlink(directory, name, &context)
            }
            return
        }
        if let children = model.entries[node] {
            guard children.isEmpty else {
                #expect(throws: FileSystemError.notEmpty) {
                    var context = context
                    try system.removeDirectory(directory, name, &context)
                }
                return
            }
            try system.removeDirectory(directory, name, &context)
            model.entries[node] = nil
            model.parents[node] = nil
        } else {
            try system.unlink(directory, name, &context)
            drop(&model, node)
        }
        model.entries[directory]?[name] = nil
    }

    private func drop(_ model: inout Model, _ node: NodeID) {
        model.files[node]?.names -= 1
        if model.files[node]?.names == 0 { model.files[node] = nil }
    }

    private func rename(
        _ model: inout Model, _ system: FileSystem, _ directory: NodeID, _ name: String,
        _ generator: inout SplitMix, _ context: inout RequestContext
    ) throws {
        guard let source = model.entries[directory]?[name],
            let other = model.entries.keys.sorted().randomElement(using: &generator)
        else { return }
        let newName = "name \(Int.random(in: 0..<40, using: &generator))"
        let target = model.entries[other]?[newName]
        let isDirectory = model.entries[source] != nil
        var ancestor: NodeID? = other
        while let current = ancestor, current != source { ancestor = model.parents[current] }
        let isLoop = isDirectory && ancestor != nil && directory != other
        let targetIsDirectory = target.map { model.entries[$0] != nil } ?? false
        let isAllowed =
            !isLoop
            && (target == nil || target == source
                || isDirectory == targetIsDirectory && (target.flatMap { model.entries[$0]?.isEmpty } ?? true))
        guard isAllowed else {
            #expect(throws: FileSystemError.self) {
                var context = context
                try system.rename(directory, name, other, newName, &context)
            }
            return
        }
        try system.rename(directory, name, other, newName, &context)
        if target == source { return }
        if let target {
            if targetIsDirectory {
                model.entries[target] = nil
                model.parents[target] = nil
            } else {
                drop(&model, target)
            }
        }
        model.entries[directory]?[name] = nil
        model.entries[other]?[newName] = source
        if isDirectory { model.parents[source] = other }
    }

    private func write(
        _ model: inout Model, _ system: FileSystem, _ file: NodeID, _ generator: inout SplitMix,
        _ context: inout RequestContext
    ) throws {
        let size = model.files[file]?.bytes.count ?? 0
        let place = Int.random(in: 0..<4, using: &generator)
        let offset = place == 0 ? size : Int.random(in: 0...(size + (place == 1 ? 300_000 : 0)), using: &generator)
        let length = 1 + Int.random(in: 0..<500_000, using: &generator) >> Int.random(in: 0..<12, using: &generator)
        var bytes = Engine.bytes(length, seed: generator.next())
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: bytes = [UInt8](repeating: 0, count: length)
        case 1: bytes = bytes.map { $0 & 1 }
        default: break
        }
        let written = try system.write(file, at: UInt64(offset), bytes, &context)
        #expect(written == length)
        if offset + length > size { resize(&model, file, offset + length) }
        model.files[file]?.bytes.replaceSubrange(offset..<offset + length, with: bytes)
    }

    private func resize(_ model: inout Model, _ file: NodeID, _ size: Int) {
        let old = model.files[file]?.bytes.count ?? 0
        if size < old {
            model.files[file]?.bytes.removeLast(old - size)
        } else {
            model.files[file]?.bytes += [UInt8](repeating: 0, count: size - old)
        }
    }

    private func compare(_ model: Model, _ system: FileSystem, _ note: String) throws {
        for (directory, entries) in model.entries {
            let found = try system.entries(of: directory)
            #expect(found.count == entries.count, "\(note)")
            for entry in found {
                #expect(entries[String(decoding: entry.name, as: UTF8.self)] == entry.node, "\(note)")
            }
        }
        for (node, file) in model.files {
            let attributes = try system.attributes(node)
            #expect(attributes.size == UInt64(file.bytes.count), "\(note)")
            #expect(attributes.links == UInt32(file.names), "\(note)")
            #expect(try system.read(node, count: file.bytes.count + 10) == file.bytes, "\(note)")
            #expect(try system.listExtendedAttributes(node).count == file.attributes.count, "\(note)")
            for (key, value) in file.attributes {
                #expect(try system.extendedAttribute(node, key) == value, "\(note)")
            }
        }
    }
}

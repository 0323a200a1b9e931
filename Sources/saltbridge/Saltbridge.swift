import ArgumentParser

@main
struct Saltbridge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "saltbridge", abstract: "Mount, inspect, check and repair Redox file systems.")
}

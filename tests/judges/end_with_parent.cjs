// Ends this process when the one that started it has gone, however it went: its end of the pipe is closed then.
process.stdin.on("end", () => process.exit()).resume();

// npm run demo: installs, builds, then runs the demo with all arguments passed on.
import { build, exitCode, install, root } from './workspace.mjs'

await install()
await build('@holdfast/demo...')
process.exitCode = await exitCode(process.execPath, [
  `${root}/tooling/demo/dist/index.js`,
  ...process.argv.slice(2),
])

// A program that uses the package, for the tests that end it: prints what it started, then does as it is told.
import { startServices } from '@holdfast/services'

const [ending, ...names] = process.argv.slice(2)
const services = await startServices(names, { private: true })
const pids = names.map((name) => services.get(name).pid)
console.log(JSON.stringify({ pids, urls: services.urls }))
if (ending === 'exit') process.exit(0)
if (ending === 'throw') throw new Error('as asked')
if (ending === 'wait') setInterval(() => {}, 60_000)

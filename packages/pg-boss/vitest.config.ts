import { onLeg } from '../../testing/legs.js'

export default onLeg('pgBoss', process.env.HOLDFAST_TEST_DB, process.env.HOLDFAST_TEST_VERSION)

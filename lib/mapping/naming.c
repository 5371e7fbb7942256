/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The name of the mapped file: remembered when the file is mapped, and read anew when the caller acknowledges that it
 * was moved.
 */
#include "facts/evidence.h"
#include "facts/name.h"
#include "facts/subject.h"
#include "kernel/quirks.h"
#include "mapping/naming.h"
#include "sys/sys.h"

/* A file that this call creates has its name when the call returns. */
void pm_mapping_name_at_first(struct pm_mapping *m, pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_file *f = &m->file;
	m->is_on_overlay = pm_has_quirk(s->found.file_system, PM_FS_IS_OVERLAY);
	if (f->created) {
		pm_evidence_set(&e[PM_EV_NAMED], PM_YES, 0, "assumed: pm_map() creates the file", NULL);
	} else if (S_ISREG(f->stx.stx_mode)) {
		pm_name_remember(&f->place, f->fd, &f->stx);
		pm_evidence_named_at_first(e, s, !f->by_descriptor);
		pm_name_note(&f->place, &e[PM_EV_NAMED]);
	}
}

bool pm_mapping_is_of_another(struct pm_mapping *m)
{
	struct statx now;
	return m->is_on_overlay && m->flags & PM_READ_ONLY && !pm_sys->statx(m->file.fd, "", AT_EMPTY_PATH, &now) &&
	       pm_name_is_reborn(&m->file.place, &now);
}

void pm_mapping_acknowledge_name(struct pm_mapping *m)
{
	pm_turns_take(&m->observed.turns);
	if (m->observed.snapshot.name == PM_REASON_MOVED) {
		pm_name_remember(&m->file.place, m->file.fd, &m->file.stx);
		m->observed.snapshot.name = PM_REASON_NONE;
		m->observed.mapped->is_path_unsynced = true;
	}
	pm_turns_give(&m->observed.turns);
}

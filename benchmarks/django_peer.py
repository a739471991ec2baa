"""With Django's mapper over SQLite, as its own documentation says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import django
from django.conf import settings as django_settings

from benchmarks.records import Row
from benchmarks.sql_peers import Plain
from benchmarks.workload import PAGE, Found

if not django_settings.configured:
    django_settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()

from django.db import connection, models, transaction


class DjangoPerson(models.Model):
    """A person as Django declares it."""

    key = models.CharField(primary_key=True, max_length=20)
    name = models.CharField(max_length=100)
    email = models.CharField(max_length=100, null=True)
    age = models.IntegerField(db_index=True)
    city = models.CharField(max_length=100, db_index=True)
    score = models.FloatField()
    active = models.BooleanField()
    joined = models.DateTimeField()
    tags = models.JSONField()
    note = models.TextField()

    class Meta:
        """Where the records are."""

        app_label = "benchmarks"
        db_table = "person"

    def __str__(self) -> str:
        return str(self.key)


class Django(Plain):
    """With Django's mapper."""

    title = "Django, SQLite"
    is_slow = False

    def __init__(self, folder: Path) -> None:
        connection.close()
        connection.settings_dict["NAME"] = str(folder / "django.sqlite")
        with connection.schema_editor() as editor:
            editor.create_model(DjangoPerson)

    def insert_many(self, rows: Sequence[Row]) -> None:
        DjangoPerson.objects.bulk_create([DjangoPerson(key=key, **row) for key, row in rows])

    def insert_each(self, rows: Sequence[Row]) -> None:
        for key, values in rows:
            DjangoPerson(key=key, **values).save(force_insert=True)

    def get(self, keys: Sequence[str]) -> list[Found]:
        return [DjangoPerson.objects.get(pk=key) for key in keys]

    def in_city(self, name: str) -> list[Found]:
        return list(DjangoPerson.objects.filter(city=name))

    def of_age(self, low: int, high: int) -> list[Found]:
        return list(DjangoPerson.objects.filter(age__range=(low, high)))

    def with_text(self, part: str) -> list[Found]:
        return list(DjangoPerson.objects.filter(note__contains=part))

    def page_by_age(self) -> list[Found]:
        return list(DjangoPerson.objects.order_by("age", "pk")[:PAGE])

    def page_by_score(self) -> list[Found]:
        return list(DjangoPerson.objects.order_by("score", "pk")[:PAGE])

    def count_city(self, name: str) -> int:
        return DjangoPerson.objects.filter(city=name).count()

    def cities(self) -> tuple[str, ...]:
        names = DjangoPerson.objects.order_by("city").values_list("city", flat=True)
        return tuple(names.distinct())

    def ages(self) -> tuple[int, int]:
        found = DjangoPerson.objects.aggregate(low=models.Min("age"), high=models.Max("age"))
        return found["low"], found["high"]

    def ages_in_cities(self) -> dict[str, int]:
        return dict(DjangoPerson.objects.values_list("city").annotate(models.Sum("age")))

    def fetch_all(self) -> list[Found]:
        return list(DjangoPerson.objects.all())

    def update(self, keys: Sequence[str]) -> None:
        with transaction.atomic():
            people = list(DjangoPerson.objects.in_bulk(keys).values())
            for person in people:
                person.score += 1.0
            DjangoPerson.objects.bulk_update(people, ["score"], batch_size=100)

    def delete_city(self, name: str) -> int:
        return DjangoPerson.objects.filter(city=name).delete()[0]

    def reopen(self, key: str) -> list[Found]:
        connection.close()
        return self.get([key])

    def close(self) -> None:
        connection.close()


PEERS = (Django,)
